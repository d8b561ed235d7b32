// Tanba's client for CRM pages: finds the agent on this computer, makes sure
// that it is the one the signer allowed, and has documents signed.
// Protocol: tanba.v1, see PROTOCOL.md. No dependencies.
// SPDX-License-Identifier: Apache-2.0

const SUBPROTOCOL = 'tanba.v1';
const PROTOCOL = 1;
const PORTS = [17650, 17651, 17652, 17653, 17654, 17655, 17656, 17657, 17658, 17659];
const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];
const PIN_KEY = 'tanba.v1.key';
const PORT_KEY = 'tanba.v1.port';

// How long a port may take to accept a socket, and the agent to prove itself.
// While the browser asks for its permission the socket waits for the person.
const OPEN_MS = 4000;
const PERMISSION_MS = 120000;
const HELLO_MS = 5000;
const ACCESS_MS = 11 * 60000;

// Documents whose base64 stays below this go inline in one message; larger
// ones go in chunks.
const INLINE_MAX = 1 << 20;
const INLINE_JOB_MAX = 16 << 20;
// How often a job whose connection broke is sent again; the agent waits 10 s for its page.
const RETRIES = 3;
const RETRY_MS = 500;
// How much may wait in the browser's send buffer.
const BUFFER_MAX = 4 << 20;

/** Why something failed. `code` is a code of PROTOCOL.md or one of the client's own:
 *  not_installed, lna_blocked, needs_click, wrong_agent, no_ed25519, disconnected, old. */
export class TanbaError extends Error {
  constructor(code, message, { document, at, cause } = {}) {
    super(message || TEXTS[code] || code, cause === undefined ? undefined : { cause });
    this.name = 'TanbaError';
    this.code = code;
    this.document = document;
    this.at = at;
  }
}

const TEXTS = {
  not_installed: 'No Tanba agent answers on this computer.',
  lna_blocked: 'The browser does not let this page reach programs on this computer.',
  needs_click: 'The browser will ask for permission: call this from a click.',
  wrong_agent: 'The agent that answers is not the one that this site knows.',
  no_ed25519: 'This browser cannot verify Ed25519 signatures.',
  disconnected: 'The connection to the agent ended.',
  old: 'The agent is too old for this page.',
};

/** Prepares a client. Nothing is connected yet: see status(). */
export const connect = (options = {}) => new Tanba(options);

class Tanba {
  #o; // options
  #status = null;
  #socket = null;
  #hello = null; // set when the agent on #socket has proved itself
  #opening = null;
  #calls = new Map();
  #progress = new Map();
  #sending = Promise.resolve();
  #signing = 0;
  #next = 1;
  #works = null;
  #closed = false;

  constructor({ ports = PORTS, host = '127.0.0.1', pins, pinKey = PIN_KEY, storage = defaultStorage(), ed25519 = webCrypto,
    minVersion, onStatus, onTokens }) {
    if (!LOOPBACK.includes(host)) throw new TypeError('host must be a loopback address');
    this.#o = { ports, host, pins: pins && [].concat(pins), pinKey, storage, ed25519, minVersion, onStatus, onTokens };
  }

  /** What hello told, or null while not connected. */
  get agent() { return this.#hello; }

  /** The state as last seen. */
  get last() { return this.#status ?? 'not_installed'; }

  /** Finds out the state. May be called when the page loads: while the browser would ask for its
   *  permission, nothing is connected and the state is lna_prompt. */
  async status() {
    try {
      await this.#connect(false);
      this.#settled();
    } catch (e) {
      this.#failed(e);
    }
    return this.last;
  }

  /** Asks the signer to allow this site. Call it from a click. Resolves to the agent's hello. */
  async requestAccess() {
    await this.#begin(true);
    this.#settled();
    return this.#hello;
  }

  /** Has a job signed. Call it from a click. Resolves to {job, documents: [...]}. */
  async sign(job, { onProgress, signal } = {}) {
    signal?.throwIfAborted();
    await this.#begin(false);
    if (onProgress) this.#progress.set(job.job, onProgress);
    const abort = () => { this.cancel(job.job).catch(() => {}); };
    this.#signing++;
    this.#closed = false;
    this.#settled();
    signal?.addEventListener('abort', abort);
    try {
      for (let tries = 0; ; tries++) {
        try {
          // One at a time: uploads of two jobs must not mix.
          const sent = this.#sending.then(() => this.#send(job, signal));
          this.#sending = sent.catch(() => {});
          return await (await sent)();
        } catch (e) {
          // The same job sent again is attached to the one that runs, or brings its result.
          if (e.code !== 'disconnected' || this.#closed || tries === RETRIES) throw e;
          await pause(RETRY_MS * 2 ** tries);
          signal?.throwIfAborted();
          await this.#connect(true);
        }
      }
    } finally {
      signal?.removeEventListener('abort', abort);
      if (this.#progress.get(job.job) === onProgress) this.#progress.delete(job.job);
      this.#signing--;
      if (this.#hello) this.#settled();
      else this.#report('not_installed');
    }
  }

  /** Gives a job's parked results a fresh bearer. */
  async deliver(job, delivery) {
    await this.#connect(true);
    return this.#call('deliver', { job, delivery: wireDelivery(delivery) });
  }

  /** How a job stands. */
  async state(job) {
    await this.#connect(false);
    return this.#call('state', { job });
  }

  /** Closes a job's prompt. */
  async cancel(job) {
    if (!this.#socket) throw new TanbaError('disconnected');
    await this.#call('cancel', { job });
  }

  /** Ends the connection. A prompt that nobody waits for is closed by the agent. */
  close() {
    this.#closed = true;
    this.#socket?.close(1000);
    this.#drop(this.#socket);
  }

  // ---- finding the agent

  // begin connects for something that the person asked for, and keeps the key of the agent that answers first.
  // (A site that policy allowed never asks for access: it keeps the key at the first signature.)
  async #begin(access) {
    try {
      await this.#connect(true, access);
    } catch (e) {
      this.#failed(e);
      throw e;
    }
    if (!this.#o.pins && !this.#known().length) this.#store(this.#o.pinKey, this.#hello.key);
  }

  async #connect(click, access = false) {
    if (this.#hello && this.#socket?.readyState === 1) return;
    const waiting = this.#opening;
    if (waiting) {
      if ((waiting.click || !click) && (waiting.access || !access)) return waiting.done;
      await waiting.done.catch(() => {});
      if (this.#hello && this.#socket?.readyState === 1) return;
    }
    const opening = { click, access };
    opening.done = this.#find(click, access).finally(() => { if (this.#opening === opening) this.#opening = null; });
    this.#opening = opening;
    return opening.done;
  }

  async #find(click, access) {
    const permission = await loopbackPermission();
    if (permission === 'denied') throw new TanbaError('lna_blocked');
    // A script may run when the page loads, in a worker or after a long wait: the browser's question then
    // comes out of nowhere, or never.
    if (permission === 'prompt' && (!click || !userIsActive())) throw new TanbaError('needs_click');
    if (!(await (this.#works ??= works(this.#o.ed25519)))) throw new TanbaError('no_ed25519');
    const order = this.#order();
    const open = (port, ms) => openSocket(this.#o.host, port, ms).catch(() => null);
    // One port alone first: as a rule it answers, and the browser asks once.
    const sockets = [open(order[0], permission === 'prompt' ? PERMISSION_MS : OPEN_MS)];
    if (permission === 'prompt' && !(await sockets[0])) {
      const now = await loopbackPermission();
      if (now !== 'granted') throw new TanbaError(now === 'denied' ? 'lna_blocked' : 'needs_click');
    }
    let trouble = null;
    const strangers = []; // agents that say that they do not know this site
    try {
      for (let i = 0; i < order.length; i++) {
        // Then the others at once: to say that a port is closed takes Windows two seconds.
        if (i === 1) sockets.push(...order.slice(1).map((port) => open(port, OPEN_MS)));
        const socket = await sockets[i];
        if (!socket) continue;
        try {
          return await this.#introduce(socket, order[i], 'hello');
        } catch (e) {
          if (access && e.code === 'site_not_allowed') strangers.push([socket, order[i]]);
          if (!trouble || rank(e.code) > rank(trouble.code)) trouble = e;
          if (e.code === 'old') throw e;
        }
      }
      for (const [socket, port] of strangers) {
        try {
          return await this.#introduce(socket, port, 'requestAccess');
        } catch (e) {
          if (rank(e.code) > rank(trouble.code)) trouble = e;
        }
      }
      throw trouble ?? new TanbaError('not_installed');
    } finally {
      for (const s of sockets) s.then((socket) => { if (socket && !(this.#hello && this.#socket === socket)) this.#leave(socket); });
    }
  }

  #leave(socket) {
    socket.close(1000);
    this.#drop(socket);
  }

  // introduce makes sure that the other end is the agent that the signer allowed, before it gets anything else.
  // A program on another port than the agent's cannot pass on the agent's proof: the port is signed too.
  async #introduce(socket, port, method) {
    this.#socket = socket;
    this.#hello = null;
    socket.onmessage = (m) => this.#message(socket, m.data);
    socket.onclose = () => this.#drop(socket);
    const pins = this.#known();
    const nonce = newNonce();
    // The signer may take as long as the agent lets them; a program that only holds the line does not.
    const hello = await within(method === 'hello' ? HELLO_MS : ACCESS_MS, this.#call(method, { nonce }, socket));
    const key = await this.#proof(hello, nonce, port);
    if (pins.length && !pins.includes(key)) throw new TanbaError('wrong_agent');
    if (hello.protocol !== PROTOCOL || (this.#o.minVersion && older(hello.version, this.#o.minVersion))) throw new TanbaError('old');
    this.#hello = Object.freeze({ ...hello, port });
    this.#store(PORT_KEY, String(port));
  }

  async #proof(hello, nonce, port) {
    try {
      const text = new TextEncoder().encode(`tanba.v1 hello\n${nonce}\n${globalThis.location.origin}\n${port}`);
      if (await this.#o.ed25519(unbase64url(hello.key), text, unbase64url(hello.signature))) return hello.key;
    } catch { /* no agent of ours writes that */ }
    throw new TanbaError('wrong_agent');
  }

  // order puts the port that answered last time first.
  #order() {
    const last = Number(this.#o.storage?.getItem(PORT_KEY));
    return this.#o.ports.includes(last) ? [last, ...this.#o.ports.filter((p) => p !== last)] : this.#o.ports;
  }

  #known() {
    if (this.#o.pins) return this.#o.pins;
    const stored = this.#o.storage?.getItem(this.#o.pinKey);
    return stored ? [stored] : [];
  }

  #store(name, value) {
    try {
      this.#o.storage?.setItem(name, value);
    } catch { /* no room, or not allowed: without a pin the CRM's server still checks deliveries */ }
  }

  /** Forgets the pinned agent: after the signer got a new computer. */
  forget() {
    this.#o.storage?.removeItem(this.#o.pinKey);
    this.close();
  }

  // ---- messages

  // call sends at once and resolves to the result. Only introduce names a socket whose agent has not proved itself.
  #call(method, params, socket = this.#hello && this.#socket) {
    if (socket?.readyState !== 1) return Promise.reject(new TanbaError('disconnected'));
    const id = this.#next++;
    socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }));
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject, socket }));
  }

  #message(socket, data) {
    const m = JSON.parse(data); // what is not JSON is no agent of ours: the call above times out
    const known = this.#hello && this.#socket === socket;
    if (m.method === 'progress' && known) this.#progress.get(m.params.job)?.(m.params);
    if (m.method === 'tokens' && known) {
      this.#hello = Object.freeze({ ...this.#hello, tokens: m.params.present });
      this.#settled();
      this.#o.onTokens?.(m.params.present);
    }
    const call = this.#calls.get(m.id);
    if (call?.socket !== socket) return;
    this.#calls.delete(m.id);
    if (m.error) {
      const d = m.error.data ?? {};
      call.reject(new TanbaError(d.code ?? 'internal', m.error.message, { document: d.document, at: d.at }));
    } else {
      call.resolve(m.result);
    }
  }

  #drop(socket) {
    if (!socket) return;
    for (const [id, call] of this.#calls) {
      if (call.socket === socket) {
        this.#calls.delete(id);
        call.reject(new TanbaError('disconnected'));
      }
    }
    if (this.#socket === socket) {
      const known = this.#hello !== null;
      this.#socket = null;
      this.#hello = null;
      if (known && !this.#signing) this.#report('not_installed');
    }
  }

  // ---- signing

  // send sends the documents and the request, all to the agent that has proved itself now. It resolves when all
  // is sent, to a function that waits for the answer.
  async #send(job, signal) {
    if (!this.#hello) throw new TanbaError('disconnected');
    const socket = this.#socket, { limits } = this.#hello;
    let inline = 0;
    const documents = [];
    for (const d of job.documents) {
      const { content, ...rest } = d;
      const out = { ...rest, content: null };
      if (typeof content === 'string' || content instanceof URL) {
        out.content = { url: String(content) };
      } else if (content && typeof content.url === 'string') {
        out.content = content.bearer ? { url: content.url, bearer: content.bearer } : { url: content.url };
      } else {
        const blob = asBlob(content, d.id);
        if (blob.size > limits.document) throw new TanbaError('too_large', 'The document is larger than the agent accepts.', { document: d.id });
        const length = 4 * Math.ceil(blob.size / 3);
        if (length <= INLINE_MAX && inline + length <= Math.min(INLINE_JOB_MAX, limits.frame / 2)) {
          inline += length;
          out.content = { inline: base64(new Uint8Array(await blob.arrayBuffer())) };
        } else {
          out.content = { stream: await this.#upload(socket, blob, limits.chunk, d.id) };
        }
      }
      documents.push(out);
    }
    signal?.throwIfAborted(); // while the agent does not know the job it cannot be cancelled
    const { title, reference, counterparty, filter } = job;
    const params = { job: job.job, title, reference, counterparty, documents, filter, delivery: wireDelivery(job.delivery) };
    const answer = this.#call('sign', params, socket);
    answer.catch(() => {}); // the function below tells
    return () => answer;
  }

  async #upload(socket, blob, chunk, document) {
    const { stream } = await this.#call('upload', { size: blob.size }, socket).catch((e) => {
      e.document ??= document;
      throw e;
    });
    for (let at = 0; at < blob.size; at += chunk) {
      const part = new Uint8Array(await blob.slice(at, at + chunk).arrayBuffer());
      const frame = new Uint8Array(4 + part.length);
      new DataView(frame.buffer).setUint32(0, stream);
      frame.set(part, 4);
      while (socket.bufferedAmount > BUFFER_MAX) await pause(20);
      if (socket.readyState !== 1) throw new TanbaError('disconnected');
      socket.send(frame);
    }
    return stream;
  }

  // ---- status

  #settled() {
    if (!this.#hello) return;
    this.#report(this.#signing ? 'busy' : this.#hello.tokens === 0 ? 'no_token' : 'ready');
  }

  #failed(e) {
    this.#report({
      needs_click: 'lna_prompt', lna_blocked: 'lna_blocked', site_not_allowed: 'site_not_allowed',
      access_refused: 'site_not_allowed', too_many_requests: 'site_not_allowed', old: 'old', no_ed25519: 'old',
    }[e.code] ?? 'not_installed');
  }

  #report(status) {
    if (status === this.#status) return;
    this.#status = status;
    this.#o.onStatus?.(status);
  }
}

// rank orders what the ports had to say: an agent that speaks of this site says more than a stranger.
const rank = (code) => ['wrong_agent', 'site_not_allowed', 'too_many_requests', 'access_refused', 'old'].indexOf(code) + 1;

/** 'granted' | 'denied' | 'prompt' | 'none': the browser's permission to reach this computer. */
async function loopbackPermission() {
  // A page of this computer itself needs none, whatever the browser says of the permission.
  if (LOOPBACK.includes(globalThis.location?.hostname)) return 'none';
  for (const name of ['loopback-network', 'local-network-access']) {
    try {
      return (await navigator.permissions.query({ name })).state;
    } catch { /* the browser does not know the name */ }
  }
  return 'none';
}

const userIsActive = () => globalThis.navigator?.userActivation?.isActive ?? true;

function openSocket(host, port, ms) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://${host}:${port}/v1`, SUBPROTOCOL);
    socket.binaryType = 'arraybuffer';
    const timer = setTimeout(() => { socket.close(); reject(new Error('time-out')); }, ms);
    socket.onopen = () => { clearTimeout(timer); resolve(socket); };
    socket.onclose = socket.onerror = () => { clearTimeout(timer); reject(new Error('closed')); };
  });
}

// ---- the proof

// works tries the RFC 8032 test vector 1: a browser may know the name and not the algorithm.
async function works(ed25519) {
  try {
    return await ed25519(
      unbase64url('11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo'), new Uint8Array(),
      unbase64url('5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv18FlbviRlUUFDjnoQCw'));
  } catch {
    return false;
  }
}

async function webCrypto(key, message, signature) {
  const k = await crypto.subtle.importKey('raw', key, 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', k, signature, message);
}

function newNonce() {
  return base64(crypto.getRandomValues(new Uint8Array(32))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

// ---- small things

function defaultStorage() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null; // storage is blocked for this page
  }
}

function wireDelivery(d) {
  const out = { url: String(d.url) };
  if (d.bearer) out.bearer = d.bearer;
  if (d.expires) out.expires = d.expires instanceof Date ? d.expires.toISOString() : d.expires;
  return out;
}

function asBlob(content, document) {
  if (content instanceof Blob) return content;
  if (content instanceof ArrayBuffer || ArrayBuffer.isView(content)) return new Blob([content]);
  throw new TanbaError('invalid_params', 'content must be bytes, a Blob or {url}', { document });
}

function base64(bytes) {
  let s = '';
  for (let i = 0; i < bytes.length; i += 0x8000) s += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(s);
}

const unbase64url = (s) => Uint8Array.from(atob(s.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function within(ms, promise) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new TanbaError('wrong_agent')), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// older compares versions such as 0.10.2.
function older(have, want) {
  const a = String(have).split('.').map(Number), b = String(want).split('.').map(Number);
  for (let i = 0; i < 3; i++) if ((a[i] || 0) !== (b[i] || 0)) return (a[i] || 0) < (b[i] || 0);
  return false;
}
