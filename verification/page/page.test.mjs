// The page at the admin port, in a real browser: what an operator sees while three members serve, one is killed, and leadership moves.

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const root = join(import.meta.dirname, '../..');
const zraft = process.env.PAGE_PROGRAM ?? join(root, 'target/release/zraft');
const shots = join(root, 'target/page');
const folder = mkdtempSync(join(tmpdir(), 'zraft page '));
const running = new Map();
const children = [];
let browser;
let page;
const problems = [];

// The package unpacks itself into the folder for temporary files, with the libraries that it needs where a machine lacks them.
async function executable() {
  if (process.env.PAGE_BROWSER) return process.env.PAGE_BROWSER;
  process.env.TMPDIR = shots;
  process.env.AWS_EXECUTION_ENV = 'AWS_Lambda_nodejs22.x';
  const { default: packaged } = await import('@sparticuz/chromium');
  // Its own list of fonts names folders that only its usual machines have.
  const fonts = `<fontconfig><dir>${shots}/fonts</dir><cachedir>${shots}/font-cache</cachedir></fontconfig>`;
  process.env.FONTCONFIG_FILE = join(shots, 'fonts.conf');
  writeFileSync(process.env.FONTCONFIG_FILE, fonts);
  return packaged.executablePath();
}

function start(name, directory) {
  const child = spawn(zraft, ['server', directory], { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ZRAFT_LOG_LEVEL: 'error' } });
  running.set(name, child);
  children.push(child);
  return new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
  });
}

const setting = (name, section) => {
  const file = readFileSync(join(folder, 'cluster', name, 'node.toml'), 'utf8');
  return new RegExp(`\\[${section}\\][^\\[]*address = "([^"]+)"`).exec(file)[1];
};
const names = ['node-1', 'node-2', 'node-3'];
const token = () => readFileSync(join(folder, 'cluster/node-1/admin.token'), 'utf8').trim();

async function status(name) {
  const answer = await fetch(`http://${setting(name, 'admin')}/v1/status`, { headers: { Authorization: `Bearer ${token()}` } });
  return answer.json();
}

async function leader() {
  for (;;) {
    for (const name of running.keys()) {
      const found = await status(name);
      if (found.serving) return name;
    }
  }
}

before(async () => {
  mkdirSync(shots, { recursive: true });
  execFileSync(zraft, ['init', '--dir', join(folder, 'cluster'), '--base-port', '0']);
  await Promise.all(names.map((name) => start(name, join(folder, 'cluster', name))));
  // The flags keep the browser from calling its maker.
  const args = ['--disable-quic', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
  if (process.getuid?.() === 0) args.push('--no-sandbox');
  browser = await chromium.launch({ executablePath: await executable(), headless: true, args });
  page = await browser.newPage({ viewport: { width: 1000, height: 1100 } });
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()));
  page.on('pageerror', (error) => problems.push(String(error)));
});

after(async () => {
  await browser?.close();
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
});

const text = (id) => page.locator(`#${id}`).innerText();
const row = (name) => page.locator('#members tr', { hasText: name });
const shows = (locator, expected) => locator.filter({ hasText: expected }).first().waitFor();

test('an operator sees the cluster, its load and what happens to it', { timeout: 120_000 }, async () => {
  const leads = await leader();
  const origin = `http://${setting(leads, 'admin')}`;
  const asked = new Set();
  page.on('request', (request) => asked.add(new URL(request.url()).origin));

  await page.goto(`${origin}/`);
  await page.getByLabel('Token of the admin port').fill('wrong');
  await page.getByRole('button', { name: 'Show' }).click();
  await shows(page.getByRole('alert'), 'The token is not the one in admin.token');
  assert.equal(problems.splice(0).length, 1, 'the browser reports the refused request');

  await page.getByLabel('Token of the admin port').fill(token());
  await page.getByRole('button', { name: 'Show' }).click();
  await shows(page.locator('h1'), leads);
  await shows(row(leads), 'leader');
  for (const name of names.filter((name) => name !== leads)) await shows(row(name), 'answers');
  assert.match(await text('events'), /leads in term \d/);
  assert.match(await text('view'), /This member leads/);

  const endpoints = names.map((name) => `${name}=tcp://${setting(name, 'client')}`).join(',');
  const load = spawn(zraft, ['bench', '-e', endpoints, '--duration', '60', '--in-flight', '16', '--queries', '0.2'], { stdio: 'ignore' });
  children.push(load);
  const positive = (id) => page.waitForFunction((id) => parseInt(document.getElementById(id).textContent.replaceAll(',', '')) > 0, id);
  for (const id of ['commands', 'queries', 'sessions', 'connections']) await positive(id);
  for (const id of ['median', 'slowest']) await page.waitForFunction((id) => / m?s$/.test(document.getElementById(id).textContent), id);
  await page.waitForFunction(() => document.getElementById('line').points.length > 3);
  await page.screenshot({ path: join(shots, 'leader.png'), fullPage: true });

  const killed = names.find((name) => name !== leads);
  running.get(killed).kill('SIGKILL');
  running.delete(killed);
  await shows(row(killed), 'silent');
  await shows(page.locator('#alarms li'), 'would lose its majority with the next voter that fails');
  await shows(page.locator('#events'), `lost ${killed} at`);
  await page.screenshot({ path: join(shots, 'alarm.png'), fullPage: true });
  await start(killed, join(folder, 'cluster', killed));
  await shows(row(killed), 'answers');
  await page.waitForFunction(() => document.querySelectorAll('#alarms li').length === 0);

  // The page of a follower names the leader.
  const follower = names.find((name) => name !== leads && name !== killed);
  const other = await browser.newPage();
  await other.goto(`http://${setting(follower, 'admin')}/`);
  await other.getByLabel('Token of the admin port').fill(token());
  await other.getByRole('button', { name: 'Show' }).click();
  await shows(other.locator('#view'), `${leads} leads. Its page shows`);
  await other.close();

  // A reload asks no second time, and a member that is gone is not shown as if it answered.
  await page.reload();
  await shows(row(leads), 'leader');
  running.get(leads).kill('SIGKILL');
  running.delete(leads);
  await shows(page.locator('#state.bad'), 'no answer');
  problems.splice(0);

  assert.deepEqual([...asked], [origin], 'the page asks its member alone');
});

test('a token that the member no longer takes leads back to the question for a token, with the reason', { timeout: 60_000 }, async () => {
  const shown = await leader();
  const file = join(folder, 'cluster', shown, 'admin.token');
  const [old, fresh] = [token(), 'f'.repeat(32)];
  const isShown = () => shows(page.locator('h1'), shown);
  const stale = 'The member no longer takes the token that this tab kept';
  const enter = async (text) => {
    await page.getByLabel('Token of the admin port').fill(text);
    await page.getByRole('button', { name: 'Show' }).click();
  };
  await page.goto(`http://${setting(shown, 'admin')}/`);
  await enter(old);
  await isShown();
  await page.locator('#shown').waitFor();
  problems.splice(0);

  try {
    // While the page is open.
    writeFileSync(file, fresh);
    await shows(page.getByRole('alert'), stale);
    assert.equal(await page.locator('#shown').isVisible(), false);
    assert.equal(await text('state'), 'needs the token');
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);
    assert.equal(problems.splice(0).length, 1, 'the page asks with the old token no second time');
    await enter(fresh);
    await page.locator('#shown').waitFor();
    await shows(page.locator('#refusals'), 'at the admin port');
    assert.equal(await page.locator('#refusal').textContent(), '');

    // While the tab holds it and the page is gone.
    await page.goto('about:blank');
    writeFileSync(file, old);
    await page.goBack();
    await shows(page.getByRole('alert'), stale);
    assert.equal(problems.splice(0).length, 1);
    // A browser cannot send such a token at all.
    await enter('grün');
    await shows(page.getByRole('alert'), 'The token is not the one in admin.token');
    assert.deepEqual(problems, []);
  } finally {
    writeFileSync(file, old);
  }
});

test('forgetting the token brings the form back and stops the questions', { timeout: 60_000 }, async () => {
  const leads = await leader();
  await page.goto(`http://${setting(leads, 'admin')}/`);
  await page.getByLabel('Token of the admin port').fill(token());
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByRole('button', { name: 'Forget the token' }).click();
  await page.getByLabel('Token of the admin port').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.deepEqual(problems, []);
});
