// Types of tanba.js. SPDX-License-Identifier: Apache-2.0

/** ready: sign() will open the prompt. not_installed: no agent answers. lna_prompt: the browser will ask, call
 *  requestAccess() or sign() from a click. lna_blocked: the browser's permission is denied, show how to change it (in a
 *  frame: the outer page must set allow="loopback-network", and the permission is the outer page's).
 *  site_not_allowed: call requestAccess(). no_token: no token is plugged in. busy: a job of this page runs.
 *  old: the agent (or this browser) is too old. */
export type Status = 'ready' | 'not_installed' | 'lna_prompt' | 'lna_blocked' | 'site_not_allowed' | 'no_token' | 'busy' | 'old';

export type Step = 'preparing' | 'opened' | 'signing' | 'delivering' | 'done';
export type State = 'delivered' | 'delivering' | 'parked' | 'dead' | 'rejected' | 'left' | 'failed';
export type Content = Uint8Array | ArrayBuffer | Blob | URL | string | { url: string; bearer?: string };

export interface Document {
  /** 1 to 64 of A–Z a–z 0–9 _ -, unique in the job. */
  id: string;
  name: string;
  format: 'pades' | 'cades';
  /** cades alone: the content inside the signature file. */
  attached?: boolean;
  /** Lower-case hex; checked by the agent. */
  sha256?: string;
  /** Bytes, or the address on this page's own origin from which the agent fetches them. */
  content: Content;
}

export interface Delivery {
  url: string;
  bearer?: string;
  expires?: Date | string;
}

export interface Filter {
  iin?: string;
  bin?: string;
  fingerprints?: string[];
  roles?: ('individual' | 'head' | 'authorised' | 'financial' | 'hr' | 'employee')[];
}

export interface Job {
  /** 1 to 64 of A–Z a–z 0–9 _ -. The same job is never signed twice. */
  job: string;
  title?: string;
  reference?: string;
  counterparty?: string;
  documents: Document[];
  filter?: Filter;
  delivery: Delivery;
}

export interface DocumentResult {
  id: string;
  state: State;
  code?: string;
  sha256?: string;
  certificate?: string;
  reason?: string;
  text?: string;
}

export interface Result {
  job: string;
  documents: DocumentResult[];
}

export interface Progress {
  job: string;
  step: Step;
  done: number;
  total: number;
}

export interface Agent {
  readonly protocol: number;
  /** base64url ed25519 public key: this computer's for this site. Give it to the CRM's server once. */
  readonly key: string;
  readonly version: string;
  readonly tokens: number;
  readonly port: number;
  readonly limits: { document: number; job: number; documents: number; frame: number; chunk: number };
}

export interface Options {
  ports?: number[];
  /** '127.0.0.1' (default), 'localhost' or '[::1]'. */
  host?: string;
  onStatus?(status: Status): void;
  onTokens?(present: number): void;
  /** Keys that the CRM's server knows for this person. Without them the key is kept in storage. */
  pins?: string | string[];
  /** Where the key is kept: localStorage by default, null for nowhere. */
  storage?: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'> | null;
  /** The name in storage; one per signed-in person if several share a browser. */
  pinKey?: string;
  /** The oldest agent that will do, "0.2.0". */
  minVersion?: string;
  /** Verifies Ed25519 where WebCrypto does not (old browsers, pages on http). */
  ed25519?(key: Uint8Array, message: Uint8Array, signature: Uint8Array): Promise<boolean>;
}

/** code is one of PROTOCOL.md's or: not_installed, lna_blocked, needs_click, wrong_agent, no_ed25519, disconnected, old. */
export class TanbaError extends Error {
  readonly code: string;
  readonly document?: string;
  readonly at?: string;
}

export interface Client {
  readonly agent: Agent | null;
  readonly last: Status;
  /** May be called when the page loads; never makes the browser ask. */
  status(): Promise<Status>;
  /** From a click. Opens the agent's page where the signer allows this site. */
  requestAccess(): Promise<Agent>;
  /** From a click. */
  sign(job: Job, options?: { onProgress?(p: Progress): void; signal?: AbortSignal }): Promise<Result>;
  deliver(job: string, delivery: Delivery): Promise<Result>;
  state(job: string): Promise<Result>;
  cancel(job: string): Promise<void>;
  /** Forgets the key that was kept. */
  forget(): void;
  close(): void;
}

export function connect(options?: Options): Client;
