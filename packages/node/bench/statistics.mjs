/** Returns the value below which this part of the sorted values lies. */
export const quantile = (sorted, part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

/** Returns the median, the least and the greatest value. */
export const summary = (values) => ({ median: median(values), least: Math.min(...values), most: Math.max(...values) })
