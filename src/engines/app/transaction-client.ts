import { Agent, type IncomingMessage, request } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import type { DrillClient, DrillFinal, DrillOperation, DrillOutcome } from '../drill.ts';
import type { Door } from './door.ts';
import type { TransactionSpec } from './schema.ts';

/** After this a client has given up, milliseconds: longer than whatever stands behind the app takes to fail over. */
const patience = 20_000;
/** How long what was acknowledged may take to be finished, milliseconds. */
const finishing = 60_000;
/** Reads under way at once, in the end. */
const readers = 16;

/** What nobody answered for: the director, the app's member, or the way to them. */
const unanswered = 'no answer';

/**
 * Customers: each transaction is a request of its own, told apart by an Idempotency-Key. A 2xx acknowledges it; in the
 * end each is looked up, and is held only if the app knows it and all of `complete` has been done. Where its time went is
 * read from the answer's Server-Timing.
 */
export class TransactionClient implements DrillClient {
  #door: Door;
  #spec: TransactionSpec;
  #run: string;
  #name: string;
  #agent = new Agent({ keepAlive: false });
  #sent = new Set<number>();
  #acknowledged = new Set<number>();

  /** `name` is the service's, as the member that answers for what is held in the end. */
  constructor(door: Door, spec: TransactionSpec, name: string, run: string) {
    this.#door = door;
    this.#spec = spec;
    this.#name = name;
    this.#run = run;
  }

  groupOf(): undefined {
    return undefined;
  }

  async invoke({ v }: DrillOperation): Promise<DrillOutcome> {
    const value = v as number;
    this.#sent.add(value);
    const { method, path } = this.#spec.request;
    const began = performance.now();
    try {
      const { status, timing, body } = await this.#ask(method, path, patience, this.#idOf(value));
      const by = timing ?? { [unanswered]: performance.now() - began };
      if (status >= 200 && status < 300) {
        this.#acknowledged.add(value);
        return { type: 'ok', by };
      }
      // A part of it may have been done: only the final read knows.
      return { type: 'info', error: `status ${status}: ${body.slice(0, 200)}`, by };
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const by = { [unanswered]: performance.now() - began };
      return { type: code === 'ECONNREFUSED' ? 'fail' : 'info', error: message, by };
    }
  }

  async finals(): Promise<DrillFinal[]> {
    const values: number[] = [];
    const left = [...this.#sent];
    const deadline = performance.now() + finishing;
    let failed: string | undefined;
    const reader = async (): Promise<void> => {
      for (let value = left.pop(); value !== undefined && failed === undefined; value = left.pop()) {
        const until = this.#acknowledged.has(value) ? deadline : 0;
        const found = await this.#finished(value, until).catch((error: Error) => {
          failed ??= error.message;
          return false;
        });
        if (found) values.push(value);
      }
    };
    await Promise.all(Array.from({ length: readers }, reader));
    values.sort((a, b) => a - b);
    return [
      {
        member: this.#name,
        model: 'set',
        role: 'authority',
        group: '',
        holds: failed === undefined ? { values } : { failed },
      },
    ];
  }

  /** What was ordered stays: the app has no way to take it back. */
  async close(): Promise<void> {
    this.#agent.destroy();
  }

  /** Whether the transaction is known and finished, asked until `deadline`. Rejects when the app does not say. */
  async #finished(value: number, deadline: number): Promise<boolean> {
    const path = this.#spec.read.replace('{id}', encodeURIComponent(this.#idOf(value)));
    for (;;) {
      const answer = await this.#ask('GET', path, patience).catch((error: Error) => error);
      const late = performance.now() > deadline;
      if (!(answer instanceof Error)) {
        if (answer.status === 200 && complete(answer.body, this.#spec.complete)) return true;
        if (late && (answer.status === 404 || answer.status === 200)) return false;
      }
      if (late)
        throw answer instanceof Error ? answer : new Error(`GET ${path} was answered with ${answer.status}`);
      await wait(100);
    }
  }

  #idOf(value: number): string {
    return `${this.#run}-${value}`;
  }

  #ask(
    method: string,
    path: string,
    ms: number,
    id?: string,
  ): Promise<{ status: number; timing: Record<string, number> | undefined; body: string }> {
    return new Promise((done, reject) => {
      const { host, port } = this.#door;
      const headers = id === undefined ? {} : { 'Idempotency-Key': id };
      const sent = request({ host, port, method, path, headers, agent: this.#agent }, (response) => {
        let body = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          if (body.length < 1 << 20) body += chunk;
        });
        response.once('error', fail);
        response.once('end', () => {
          clearTimeout(timer);
          done({ status: response.statusCode ?? 0, timing: timingOf(response), body });
        });
      });
      const fail = (error: Error): void => {
        clearTimeout(timer);
        reject(error);
      };
      const timer = setTimeout(() => sent.destroy(new Error(`no answer in ${ms} ms`)), ms);
      sent.on('error', fail);
      sent.end();
    });
  }
}

/** The durations of Server-Timing (W3C), milliseconds; those of one name are added up. Undefined when there are none. */
function timingOf(response: IncomingMessage): Record<string, number> | undefined {
  const times: Record<string, number> = {};
  for (const metric of String(response.headers['server-timing'] ?? '').split(',')) {
    const name = /^\s*([^;\s]+)/.exec(metric)?.[1];
    const ms = Number(/;\s*dur="?([\d.]+)/.exec(metric)?.[1] ?? Number.NaN);
    if (name !== undefined && Number.isFinite(ms)) times[name] = (times[name] ?? 0) + ms;
  }
  return Object.keys(times).length > 0 ? times : undefined;
}

function complete(body: string, fields: string[]): boolean {
  if (fields.length === 0) return true;
  try {
    const found = JSON.parse(body) as Record<string, unknown> | null;
    return fields.every((field) => Boolean(found?.[field]));
  } catch {
    return false;
  }
}
