import assert from "node:assert/strict"
import { test } from "node:test"

import { between } from "../report.mjs"
import { median, quantile } from "../statistics.mjs"

test("a text is put between its marks and nothing else changes", () => {
  const document = "# Title\n<!-- node:begin -->\nold\n<!-- node:end -->\nrest\n"
  assert.equal(between(document, "node", "new\n"), "# Title\n<!-- node:begin -->\nnew\n<!-- node:end -->\nrest\n")
})

test("a document without the marks is refused", () => {
  assert.throws(() => between("# Title\n", "node", "new"), /no <!-- node:begin -->/)
})

test("the median of an even number of values lies between the two in the middle", () => {
  assert.equal(median([4, 1, 3, 2]), 2.5)
  assert.equal(median([3, 1, 2]), 2)
})

test("a quantile is one of the values", () => {
  const values = Array.from({ length: 100 }, (_, index) => index)
  assert.equal(quantile(values, 0.5), 50)
  assert.equal(quantile(values, 0.99), 99)
  assert.equal(quantile([7], 0.99), 7)
})
