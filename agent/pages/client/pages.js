// The page's side of agent/pages: gets in once, calls, listens.

let bearer = '';
let key = null; // of the agent's proofs
let over = false; // nothing more comes from the agent
let ours = false; // whoever answers at this address has proved to be the agent that let us in, and is still there

const options = (headers, body) => ({
  method: 'POST', headers, body,
  cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
});

// Gone is thrown when the page cannot get in (again); it carries the words to say so.
export class Gone extends Error {
  constructor(words) { super('gone'); this.words = words; }
}

// Refused is thrown when a call is refused; word says why.
export class Refused extends Error {
  constructor(word) { super(word); this.word = word; }
}

// enter takes the secret out of the address and redeems it.
export async function enter() {
  const secret = location.hash.slice(1);
  history.replaceState(null, '', location.pathname);
  const r = await fetch('/api/redeem', options({ 'Content-Type': 'application/json' }, JSON.stringify({ secret: secret.slice(0, 64) })));
  const answer = await r.json();
  if (!r.ok) throw new Gone(answer.words);
  bearer = answer.bearer;
  key = await crypto.subtle.importKey('raw', new TextEncoder().encode(answer.key), { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
  ours = true;
}

const hex = (bytes) => [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('');
const unhex = (text) => Uint8Array.from(String(text).match(/../g) ?? [], (h) => parseInt(h, 16));

// proved checks the first line of a stream.
const proved = (line, nonce) => {
  const { event, data } = JSON.parse(line);
  return event === 'proof' && crypto.subtle.verify('HMAC', key, unhex(data), nonce);
};

async function post(path, type, body) {
  if (!ours) throw new Refused('offline');
  let r;
  try {
    r = await fetch(path, options({ 'Content-Type': type, Authorization: 'Bearer ' + bearer }, body));
  } catch {
    throw new Refused('offline');
  }
  if (r.status === 403) throw new Refused('gone');
  const answer = await r.json();
  if (!r.ok) throw new Refused(answer.error);
  return answer;
}

// call sends value as JSON and returns the answer.
export const call = (method, value = {}) => post('/api/call/' + method, 'application/json', JSON.stringify(value));

// raw sends bytes as they are and returns the answer.
export const raw = (method, bytes) => post('/api/raw/' + method, 'application/octet-stream', bytes);

const silence = 12000; // ms without a sign of life after which a stream is dead
const patience = 20000; // ms of failed attempts after which the agent is gone

// listen calls handler(event, data) for each event until the page ends: then with 'end' (the agent said so),
// 'moved' (another tab took over) or 'lost' (the agent does not answer).
export async function listen(handler) {
  await follow(handler);
  over = true;
}

async function follow(handler) {
  let since = performance.now();
  for (;;) {
    const stop = new AbortController();
    const nonce = crypto.getRandomValues(new Uint8Array(16));
    let checked = false;
    let timer = setTimeout(() => stop.abort(), silence);
    try {
      const r = await fetch('/api/stream', { ...options({ Authorization: 'Bearer ' + bearer, 'Tanba-Nonce': hex(nonce) }), signal: stop.signal });
      if (r.status === 403) { handler('lost'); return; }
      const reader = r.body.getReader();
      const decoder = new TextDecoder();
      for (let rest = ''; ;) {
        const { value, done } = await reader.read();
        if (done) break;
        clearTimeout(timer);
        timer = setTimeout(() => stop.abort(), silence);
        if (checked) since = performance.now();
        const lines = (rest + decoder.decode(value, { stream: true })).split('\n');
        rest = lines.pop();
        for (const line of lines) {
          if (!checked) {
            checked = await proved(line, nonce);
            ours = checked;
            if (!checked) { stop.abort(); handler('lost'); return; }
            continue;
          }
          const message = JSON.parse(line);
          if (message.event === 'end' || message.event === 'moved') { handler(message.event); return; }
          if (message.event !== 'beat') handler(message.event, message.data);
        }
      }
    } catch {
      // The connection broke; try again below.
    } finally {
      clearTimeout(timer);
      ours = false; // until it has proved itself anew
    }
    if (performance.now() - since > patience) { handler('lost'); return; }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

// Words: the table of every language, and the one that is shown.
let tables = {};
export let lang = 'en';

// setWords takes tables {kk: {key: text}, …}; setLang chooses one of them.
export function setWords(words, chosen) {
  tables = words;
  setLang(chosen in words ? chosen : 'en');
}
export function setLang(l) {
  lang = l;
  document.documentElement.lang = l;
}

// preferred returns the browser's first language that we speak.
export function preferred() {
  for (const l of navigator.languages) {
    const short = l.slice(0, 2).toLowerCase();
    if (['kk', 'ru', 'en'].includes(short)) return short;
  }
  return 'en';
}

// has reports whether there is a text.
export const has = (key) => key in (tables[lang] ?? {});

// t returns the text of key with values put in.
export function t(key, values = {}) {
  const text = tables[lang]?.[key] ?? '<' + key + '>';
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

// tn returns the text of key in the plural form for n, with {n} put in.
export function tn(key, n, values = {}) {
  const forms = (tables[lang]?.[key] ?? '<' + key + '>').split('|');
  let form = n === 1 ? 0 : 1;
  if (lang === 'kk') form = 0;
  if (lang === 'ru') {
    form = 2;
    if (n % 10 === 1 && n % 100 !== 11) form = 0;
    else if (n % 10 >= 2 && n % 10 <= 4 && (n % 100 < 12 || n % 100 > 14)) form = 1;
  }
  const text = forms[Math.min(form, forms.length - 1)];
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name === 'n' ? n.toLocaleString(lang === 'en' ? 'en' : 'ru') : name in values ? String(values[name]) : whole));
}

// el makes an element with properties and children; text goes in as text.
export function el(tag, properties = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(properties)) {
    if (v === undefined || v === null || v === false) continue;
    if (k === 'class') e.className = v;
    else if (k.startsWith('on')) e.addEventListener(k.slice(2), v);
    else if (k in e && k !== 'list' && k !== 'form') e[k] = v;
    else e.setAttribute(k, v === true ? '' : v);
  }
  for (const c of children.flat()) if (c !== null && c !== undefined && c !== false) e.append(c);
  return e;
}

// mark fills every element that names its text in data-t, below root.
export function mark(root = document) {
  for (const e of root.querySelectorAll('[data-t]')) e.textContent = t(e.dataset.t);
  for (const e of root.querySelectorAll('[data-label]')) e.setAttribute('aria-label', t(e.dataset.label));
}

// watch tells the agent when this page comes before the signer and goes, and calls changed(armed, here): here, it is
// visible and focused; armed, it has been so for the second after which the agent takes an answer.
export function watch(changed) {
  let here = null;
  let timer = 0;
  let queue = Promise.resolve();
  const update = (again) => {
    const now = document.visibilityState === 'visible' && document.hasFocus();
    if (now === here && again !== true) return;
    here = now;
    clearTimeout(timer);
    changed(false, here);
    queue = queue.then(() => call('focus', { on: now })).then(() => {
      if (now && here) {
        clearTimeout(timer);
        timer = setTimeout(() => changed(true, true), 1050);
      }
    }, (e) => { if (e.word === 'offline' && !over) setTimeout(() => update(true), 500); });
  };
  window.addEventListener('focus', update);
  window.addEventListener('blur', update);
  document.addEventListener('visibilitychange', update);
  update();
  return () => update(true); // starts the second anew
}

const noEnter = (e) => { if (e.key === 'Enter') e.preventDefault(); };

// answer makes a button that the Enter key does not press: neither its keydown nor a keypress whose keydown went to
// another element.
export const answer = (properties, ...children) => el('button', { type: 'button', onkeydown: noEnter, onkeypress: noEnter, ...properties }, ...children);

// languages makes the switch; changed is called after a choice.
export function languages(changed) {
  const names = { kk: 'Қаз', ru: 'Рус', en: 'Eng' };
  const full = { kk: 'Қазақша', ru: 'Русский', en: 'English' };
  return el('div', { class: 'langs', role: 'group', 'aria-label': t('page.language') }, ['kk', 'ru', 'en'].map((l) =>
    el('button', { type: 'button', id: 'lang-' + l, lang: l, title: full[l], 'aria-label': full[l], 'aria-pressed': String(l === lang),
      onclick: () => { setLang(l); changed(); document.getElementById('lang-' + l)?.focus(); } }, names[l])));
}

const svg = 'http://www.w3.org/2000/svg';
const drawings = {
  done: ['M5 12.5l4.6 4.6L19 7.5'],
  stop: ['M6 12h12'],
  bang: ['M12 6v7', 'M12 17.2v.1'],
  warn: ['M12 3.5a8.5 8.5 0 1 0 0 17a8.5 8.5 0 1 0 0-17z', 'M12 8v5', 'M12 16.2v.1'],
  token: ['M8 3h8v5H8z', 'M6 8h12v9a4 4 0 0 1-4 4h-4a4 4 0 0 1-4-4z', 'M12 12v4'],
  open: ['M14 5h5v5', 'M19 5l-8 8', 'M17 14v5H5V7h5'],
  copy: ['M9 9h10v10H9z', 'M15 9V5H5v10h4'],
  lock: ['M6 11h12v9H6z', 'M8.5 11V8a3.5 3.5 0 0 1 7 0v3'],
};

// icon draws one of the drawings above; it means nothing to a screen reader.
export function icon(name) {
  const s = document.createElementNS(svg, 'svg');
  s.setAttribute('viewBox', '0 0 24 24');
  s.setAttribute('aria-hidden', 'true');
  s.setAttribute('class', 'icon');
  for (const d of drawings[name]) {
    const p = document.createElementNS(svg, 'path');
    p.setAttribute('d', d);
    s.append(p);
  }
  return s;
}

// originLine shows an origin so that the registered part stands out.
export function originLine(o) {
  return el('p', { class: 'origin', id: 'origin' }, el('span', { class: 'faint' }, o.scheme + o.before), el('strong', {}, o.main), el('span', { class: 'faint' }, o.after));
}

// last shows the page's last words, in place of everything.
export function last(kind, title, texts) {
  document.title = title + ' · Tanba';
  const h = el('h1', { tabIndex: -1 }, title);
  document.getElementById('main').replaceChildren(el('section', { class: 'last ' + kind, id: 'last', role: 'status' },
    el('div', { class: 'seal' }, icon(kind === 'good' ? 'done' : kind === 'bad' ? 'bang' : 'stop')),
    h, texts.filter(Boolean).map((s) => el('p', {}, s))));
  h.focus();
}

// start gets in and runs main(view); if the page cannot get in it says so.
export async function start(main) {
  try {
    await enter();
    const view = await call('load');
    setWords(view.words, view.lang);
    main(view);
  } catch (e) {
    if (!(e instanceof Gone)) throw e;
    setWords(e.words, preferred());
    const say = () => {
      document.getElementById('langs').replaceChildren(languages(say));
      last('quiet', t('page.gone_title'), [t('page.gone_text')]);
    };
    say();
  }
}
