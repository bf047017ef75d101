// Shows what this member's admin port says, once a second: /v1/status with the token, and /metrics.

const PERIOD = 1000;
// An answer that takes longer is none: the member gives up after two seconds itself.
const PATIENCE = 3000;
// Two minutes of samples.
const SAMPLES = 121;
// Rates and times are of the last ten seconds.
const WINDOW = 10;
const TOKEN = 'zraft admin token';
// The characters of tokens. A browser cannot send others.
const VISIBLE = /^[!-~]+$/;

const element = (id) => document.getElementById(id);
let token = sessionStorage.getItem(TOKEN);
// True if the member has taken the token before, in this page or before a reload.
let known = token !== null;
let samples = [];

class Refused extends Error {}

async function ask(path, headers) {
  const response = await fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
  if (response.status === 401) throw new Refused('the token was refused');
  if (!response.ok) throw new Error(`the member answers ${response.status}`);
  return response;
}

// Takes the values out of the text format of Prometheus: counters by name, and the buckets of the commands' times.
function readMetrics(text) {
  const counts = new Map();
  const buckets = [];
  for (const line of text.split('\n')) {
    const bucket = /^zraft_command_duration_seconds_bucket\{le="([^"]+)"\} (\d+)$/.exec(line);
    if (bucket) buckets.push([bucket[1] === '+Inf' ? Infinity : Number(bucket[1]), Number(bucket[2])]);
    const count = /^(zraft_\w+_total) ([\d.e+]+)$/.exec(line);
    if (count) counts.set(count[1], Number(count[2]));
  }
  return { at: performance.now() / 1000, counts, buckets };
}

function rate(from, to, name) {
  if (!from || to.at <= from.at) return undefined;
  return (to.counts.get(name) - from.counts.get(name)) / (to.at - from.at);
}

// Returns the time within which this part of the commands between two samples was answered, in seconds.
function within(from, to, part) {
  const counts = to.buckets.map(([bound, count], place) => [bound, count - (from?.buckets[place]?.[1] ?? 0)]);
  const wanted = (counts.at(-1)?.[1] ?? 0) * part;
  if (wanted <= 0) return undefined;
  let [below, before] = [0, 0];
  for (const [bound, count] of counts) {
    // Within a bucket, as if its commands were spread evenly.
    if (count >= wanted) return bound === Infinity ? bound : below + ((bound - below) * (wanted - before)) / (count - before);
    [below, before] = [bound, count];
  }
  return undefined;
}

const whole = (number) => (number === undefined ? '–' : Math.round(number).toLocaleString('en'));

function time(seconds) {
  if (seconds === undefined) return '–';
  if (seconds === Infinity) return 'over 5 s';
  return seconds < 1 ? `${(seconds * 1000).toPrecision(2)} ms` : `${seconds.toFixed(1)} s`;
}

function size(bytes) {
  const [step, unit] = bytes < 1 << 20 ? [1 << 10, 'KiB'] : [1 << 20, 'MiB'];
  return `${(bytes / step).toFixed(1)} ${unit}`;
}

function make(tag, text, name) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

function state(text, name) {
  element('state').textContent = text;
  element('state').className = name;
}

function showFigures(status) {
  const last = samples.at(-1);
  const from = samples[Math.max(0, samples.length - 1 - WINDOW)];
  element('commands').textContent = whole(rate(from, last, 'zraft_answers_total'));
  element('queries').textContent = whole(rate(from, last, 'zraft_queries_total'));
  element('median').textContent = time(within(from, last, 0.5));
  element('slowest').textContent = time(within(from, last, 0.99));
  element('sessions').textContent = whole(status.sessions);
  element('connections').textContent = whole(status.client_connections);

  const rates = samples.slice(1).map((sample, place) => rate(samples[place], sample, 'zraft_answers_total') ?? 0);
  const most = Math.max(0, ...rates);
  element('most').textContent = whole(most);
  const right = SAMPLES - 1;
  const points = rates.map((value, place) => `${right - rates.length + 1 + place},${29 - (most > 0 ? (value / most) * 28 : 0)}`);
  element('line').setAttribute('points', points.join(' '));
}

function memberRow(member, status) {
  const leads = member.name === status.leader;
  const own = member.name === status.member;
  const known = own ? status.log.last : member.matched;
  const behind = member.matched === undefined ? undefined : Math.max(0, status.log.last - member.matched);
  let condition = 'not known here';
  if (own || member.active) condition = 'answers';
  if (member.active === false && !own) condition = 'silent';
  if (member.installing_snapshot) condition = 'receives a snapshot';
  const row = document.createElement('tr');
  if (leads) row.className = 'leads';
  row.append(
    make('td', own ? `${member.name} (this one)` : member.name),
    make('td', leads ? 'leader' : member.role),
    make('td', whole(known)),
    make('td', whole(behind)),
    make('td', condition, condition === 'silent' ? 'bad' : ''),
    make('td', own ? status.disk : (member.disk ?? '–')),
    make('td', member.peer_address),
  );
  return row;
}

function showCluster(status) {
  document.title = `${status.member} – zraft`;
  element('title').textContent = status.member;
  element('subtitle').textContent = `cluster ${status.cluster}, version ${status.version}`;
  const alarms = status.alarms.map((alarm) => make('li', `${status.member} ${alarm.message}`));
  element('alarms').replaceChildren(...alarms);
  element('members').replaceChildren(...status.members.map((member) => memberRow(member, status)));
  let view = 'This member leads, and knows how far the others are.';
  if (!status.serving) {
    view = status.leader
      ? `${status.leader} leads. Its page shows the commands of clients, and how far each member is.`
      : 'No member leads.';
  }
  element('view').textContent = view;

  const details = {
    role: status.role,
    term: whole(status.term),
    log: `up to entry ${whole(status.log.last)}, ${size(status.log.memory_bytes)} in memory`,
    committed: `up to entry ${whole(status.log.committed)}`,
    applied: `up to entry ${whole(status.log.applied)}`,
    'state hash': status.state_hash,
    snapshot: status.snapshot ? `of entry ${whole(status.snapshot.index)}, ${size(status.snapshot.bytes)}` : 'none yet',
    disk: status.disk,
    'client address': status.client_address,
  };
  if (status.application_panic) details['application panicked'] = `at entry ${whole(status.application_panic.entry)}: ${status.application_panic.trace}`;
  const pairs = Object.entries(details).flatMap(([name, value]) => [make('dt', name), make('dd', value)]);
  element('details').replaceChildren(...pairs);

  element('events').replaceChildren(...status.events.map(eventItem));
  element('refusals').replaceChildren(...status.refusals.map(eventItem));
}

function eventItem(event) {
  const at = new Date(event.at_millis);
  const item = document.createElement('li');
  const when = make('time', at.toLocaleString());
  when.dateTime = at.toISOString();
  item.append(when, event.text);
  return item;
}

function show(what) {
  element('login').hidden = what !== 'login';
  element('shown').hidden = what !== 'shown';
}

async function update() {
  const used = token;
  if (used === null) {
    show('login');
    state('needs the token', '');
    return;
  }
  try {
    if (!VISIBLE.test(used)) throw new Refused('the token cannot be sent');
    const [status, metrics] = await Promise.all([
      ask('v1/status', { Authorization: `Bearer ${used}` }).then((response) => response.json()),
      ask('metrics', {}).then((response) => response.text()),
    ]);
    // An answer to a token that was forgotten or replaced meanwhile says nothing about the new one.
    if (token !== used) return;
    if (!known) sessionStorage.setItem(TOKEN, used);
    known = true;
    const sample = readMetrics(metrics);
    const last = samples.at(-1);
    // The counters of a member that was started again begin at 0.
    if (last && sample.counts.get('zraft_admin_requests_total') < last.counts.get('zraft_admin_requests_total')) samples = [];
    samples = [...samples, sample].slice(-SAMPLES);
    showCluster(status);
    showFigures(status);
    show('shown');
    state(`as of ${new Date().toLocaleTimeString()}`, 'good');
    element('refusal').textContent = '';
  } catch (error) {
    if (token !== used) return;
    if (error instanceof Refused) {
      const stale = known;
      forget();
      element('refusal').textContent = stale
        ? 'The member no longer takes the token that this tab kept: enter the one in admin.token.'
        : 'The token is not the one in admin.token.';
      return;
    }
    state(`no answer: ${error.name === 'TimeoutError' ? 'the member is silent' : error.message}`, 'bad');
  }
}

function forget() {
  token = null;
  known = false;
  samples = [];
  sessionStorage.removeItem(TOKEN);
  element('refusal').textContent = '';
  show('login');
  state('needs the token', '');
}

element('login').addEventListener('submit', (event) => {
  event.preventDefault();
  token = element('token').value.trim();
  known = false;
  element('token').value = '';
  update();
});
element('forget').addEventListener('click', forget);

// A page that no one sees asks nothing.
async function run() {
  if (!document.hidden) await update();
  setTimeout(run, PERIOD);
}
run();
