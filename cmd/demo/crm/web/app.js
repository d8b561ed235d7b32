// The page of one deal: says how the agent is and what to press, starts jobs, shows how they end.
// What is decided here is only for the eyes: the CRM's server decides by what the agent posts to it.
import { connect } from '/static/tanba.js';

const $ = (id) => document.getElementById(id);
const { deal, firstPort, lastPort } = $('deal').dataset;
const ports = Array.from({ length: lastPort - firstPort + 1 }, (_, i) => Number(firstPort) + i);

// ---- the agent's status, and what to do about it

const statuses = {
  ready: ['Tanba is ready.', 'Press Sign. Tanba opens a page of its own with the document; read it, choose your certificate and enter the PIN there.'],
  no_token: ['Tanba is ready, but there is no token.', 'Plug your token in. You can also press Sign now and plug it in then.'],
  busy: ['Tanba waits for you.', 'Go to the page that Tanba has opened: read, enter the PIN, press Sign there.'],
  site_not_allowed: ['Tanba does not know this site yet.', 'Press Connect, and allow the site on the page that Tanba opens. It asks once.'],
  lna_prompt: ['The browser will ask you first.', 'Press Connect, then “Allow” when the browser asks whether this site may reach programs on this device.'],
  lna_blocked: ['The browser keeps this site from Tanba.', 'Press the icon left of the address, allow access to programs on this device, and press Connect.'],
  not_installed: ['Tanba does not answer on this computer.', 'Start Tanba, or install it, and press Connect.'],
  old: ['This browser or this Tanba is too old.', 'Update the browser and Tanba, and press Connect.'],
};

let signing = false; // a job of this page runs
let parked = ''; // the job that waits for a fresh bearer
let otherComputer = false;

function draw() {
  const status = client.last;
  const [words, hint] = statuses[status];
  const waiting = Number($('live').dataset.waiting);
  const connected = ['ready', 'no_token', 'busy'].includes(status);
  $('agent-status').textContent = words;
  $('agent-status').dataset.status = $('agent-dot').dataset.status = status;
  $('agent-hint').textContent = connected && !signing && waiting === 0 ? $('live').dataset.idle : hint;
  $('connect').hidden = connected;
  $('sign').hidden = !connected || signing || waiting === 0 || otherComputer;
  $('sign').textContent = waiting > 1 ? `Sign ${waiting} documents` : 'Sign';
  $('cancel').hidden = !signing;
  $('again').hidden = !parked || signing;
  $('enrol').hidden = !otherComputer;
}

const client = connect({ ports, onStatus: draw, onTokens: draw });

function say(outcome, text) {
  $('outcome').textContent = text;
  $('outcome').dataset.outcome = outcome;
}

// ---- the CRM's server

class Refused extends Error {
  constructor(status, text) { super(text); this.status = status; }
}

async function post(path, body = {}) {
  const r = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  if (!r.ok) throw new Refused(r.status, (await r.text()).trim());
  return r.status === 204 ? null : r.json();
}

// enrol tells the server which agent's results are this person's. The client has checked the key.
async function enrol(replace = false) {
  try {
    await post('/api/agent', { key: client.agent.key, replace });
    otherComputer = false;
  } catch (e) {
    if (e.status !== 409) throw e;
    otherComputer = true;
    say('failed', 'Another computer is enrolled for you. Results from this one are taken only if you say so.');
  }
  draw();
  return !otherComputer;
}

// ---- signing

const troubles = {
  cancelled: 'Cancelled. Nothing was signed.',
  prompt_closed: 'Tanba’s page was closed. Nothing was signed; press Sign to begin again.',
  timed_out: 'Nobody answered in Tanba. Nothing was signed; press Sign to begin again.',
  later: 'Put off. Press Sign when you are ready.',
  access_refused: 'This site was not allowed in Tanba.',
  too_many_requests: 'Tanba has asked about this site often enough. Allow it in Tanba’s own list of sites, or wait ten minutes.',
  job_running: 'This job is already open in Tanba: look for its page.',
  busy: 'Tanba has several documents waiting already. Answer those first.',
  no_token: 'There is no token.',
  token_removed: 'The token was pulled out. Plug it in and press Sign again.',
  wrong_agent: 'The program that answers is not the Tanba that you allowed for this site. Nothing was sent to it.',
  disconnected: 'The connection to Tanba ended. What is signed is kept and is sent when Tanba runs again.',
  cannot_open_prompt: 'Tanba could not open its page.',
};

function trouble(e) {
  if (e.code === 'not_installed' || e.code === 'lna_blocked' || e.code === 'needs_click' || e.code === 'old') return; // the status says it
  say('failed', troubles[e.code] ?? `It did not work: ${e.message}`);
}

// content turns what the server gave into what the client takes.
async function content(c) {
  if (c.inline) return Uint8Array.from(atob(c.inline), (x) => x.charCodeAt(0));
  if (c.address) {
    const r = await fetch(c.address);
    if (!r.ok) throw new Refused(r.status, 'the document could not be read');
    return r.blob();
  }
  return { url: c.url, bearer: c.bearer };
}

const steps = {
  preparing: 'Tanba looks at the documents…', opened: 'The documents are before you on Tanba’s page.', signing: 'The token signs…',
  delivering: 'On the way to the CRM…', done: 'Done.',
};

function progress({ step, done, total }) {
  const bar = $('bar');
  bar.hidden = false;
  if (step === 'signing' || step === 'delivering') {
    bar.max = total;
    bar.value = done;
  } else bar.removeAttribute('value');
  say('', (steps[step] ?? '') + (total > 1 && (step === 'signing' || step === 'delivering') ? ` ${done} of ${total}` : ''));
}

// settle shows how a job ended. When nothing more is coming from the agent it says so to the server, and the next
// press begins a new job for what is left.
async function settle(result) {
  show(result);
  const pending = result.documents.some((d) => d.state === 'parked' || d.state === 'delivering');
  if (!pending && result.documents.some((d) => d.state !== 'delivered')) await post(`/api/jobs/${result.job}/close`);
}

// show says how a job ended, by the worst that befell a document.
function show(result) {
  const n = (...s) => result.documents.filter((d) => s.includes(d.state)).length;
  const all = result.documents.length;
  const count = (k) => (k < all ? ` (${k} of ${all})` : '');
  parked = n('parked') ? result.job : '';
  if (n('dead')) say('failed', `Signed, but this CRM did not take the file${count(n('dead'))}. The history says why; Tanba keeps the file.`);
  else if (n('failed')) say('failed', `Not signed${count(n('failed'))}: ${troubles[result.documents.find((d) => d.state === 'failed').code] ?? 'the token or the document did not allow it.'}`);
  else if (n('parked')) say('parked', `Signed, but the permission to deliver has run out${count(n('parked'))}. Press Send again; it is not signed a second time.`);
  else if (n('delivering')) say('delivering', 'Signed. Tanba keeps the file and goes on trying to deliver it.');
  else if (n('rejected')) say('rejected', `Rejected${count(n('rejected'))}.`);
  else if (n('left')) say('left', n('delivered') ? `Signed ${n('delivered')} of ${all}; the rest was left for later.` : 'Put off. Press Sign when you are ready.');
  else say('signed', all > 1 ? `Signed: ${all} documents. The CRM has them.` : 'Signed. The CRM has the file.');
}

async function run(action) {
  say('', '');
  signing = true;
  draw();
  try {
    await action();
  } catch (e) {
    trouble(e);
  }
  signing = false;
  $('bar').hidden = true;
  draw();
}

let job = '';

$('sign').addEventListener('click', () => run(async () => {
  await client.requestAccess();
  if (!(await enrol())) return;
  const params = await post(`/api/deals/${deal}/sign`);
  job = params.job;
  for (const d of params.documents) d.content = await content(d.content);
  await settle(await client.sign(params, { onProgress: progress }));
}));

$('cancel').addEventListener('click', () => client.cancel(job).catch(trouble));

$('again').addEventListener('click', () => run(async () => {
  const { delivery } = await post(`/api/jobs/${parked}/bearer`);
  await settle(await client.deliver(parked, delivery));
}));

$('connect').addEventListener('click', async () => {
  say('', '');
  $('connect').disabled = true;
  try {
    await client.requestAccess();
    await enrol();
  } catch (e) {
    await client.status();
    trouble(e);
  }
  $('connect').disabled = false;
  draw();
});

$('enrol').addEventListener('click', () => enrol(true).then((ok) => ok && say('', ''), trouble));

// ---- results of an earlier visit that wait for a fresh bearer

async function look() {
  const open = $('live').dataset.job;
  if (!open || signing || !client.agent) return;
  try {
    await settle(await client.state(open));
  } catch (e) {
    if (e.code === 'job_running') say('', troubles.job_running);
  }
  draw();
}

// ---- what changes by itself

let refreshing = false;
let stale = false;

// refresh draws the changing part anew; changes that come meanwhile make one more drawing, not one each.
async function refresh() {
  stale = true;
  if (refreshing) return;
  refreshing = true;
  while (stale) {
    stale = false;
    try {
      const r = await fetch(`/deals/${deal}/live`);
      if (!r.ok || r.redirected) break;
      const now = new DOMParser().parseFromString(await r.text(), 'text/html').getElementById('live');
      if (!now) break;
      const scrolled = [...$('live').querySelectorAll('.many')].map((e) => e.scrollTop);
      $('live').replaceWith(document.adoptNode(now));
      [...$('live').querySelectorAll('.many')].forEach((e, k) => { e.scrollTop = scrolled[k] ?? 0; });
      draw();
    } catch { /* the CRM is away; the stream of events connects again by itself */ }
  }
  refreshing = false;
}

new EventSource(`/deals/${deal}/events`).addEventListener('changed', refresh);

// The demo's own: the hand that pulls and inserts the soft token.
document.addEventListener('click', async (e) => {
  const token = e.target.closest?.('[data-token]')?.dataset.token;
  if (!token) return;
  e.target.disabled = true;
  await fetch('/demo/token', { method: 'POST', body: new URLSearchParams({ token }) });
  refresh();
});

// The agent may be started or come back while the page is open. This asks the browser for nothing.
async function check() {
  if (!signing && !document.hidden) {
    await client.status();
    draw();
  }
}

check().then(look);
setInterval(() => { if (!client.agent && client.last === 'not_installed') check().then(look); }, 4000);
document.addEventListener('visibilitychange', () => { if (!client.agent) check(); });
