// A client that is told over standard input what to ask; see Caller in wires.ts.
import { Agent, request } from 'node:http';
import { createInterface } from 'node:readline';

const connections = new Map<string, Agent>();
let hammering = false;
let results: Promise<void>[] = [];
let answered: Record<string, number> = {};
let failed: string[] = [];

function ask(url: string, agent: Agent | false): Promise<string> {
  return new Promise((resolve) => {
    const asked = request(url, { agent, timeout: 5000 }, (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () => resolve(body));
      response.on('error', (error: NodeJS.ErrnoException) => resolve(`!${error.code}`));
    });
    asked.on('timeout', () => asked.destroy(Object.assign(new Error('timeout'), { code: 'TIMEOUT' })));
    asked.on('error', (error: NodeJS.ErrnoException) => resolve(`!${error.code}`));
    asked.end();
  });
}

async function hammer(url: string): Promise<void> {
  while (hammering) {
    const answer = await ask(url, false);
    if (answer.startsWith('!')) failed.push(`${answer} at ${Date.now()}`);
    else answered[answer] = (answered[answer] ?? 0) + 1;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

const actions: Record<string, (...words: never[]) => unknown> = {
  async get(url: string, count: number) {
    const answers: string[] = [];
    for (let n = 0; n < count; n++) answers.push(await ask(url, false));
    return answers;
  },
  over(connection: string, url: string) {
    let agent = connections.get(connection);
    if (!agent) {
      agent = new Agent({ keepAlive: true, maxSockets: 1 });
      connections.set(connection, agent);
    }
    return ask(url, agent);
  },
  hammer(url: string) {
    hammering = true;
    answered = {};
    failed = [];
    results = [1, 2, 3, 4].map(() => hammer(url));
  },
  async rest() {
    hammering = false;
    await Promise.all(results);
    return { answered, failed };
  },
};

createInterface({ input: process.stdin }).on('line', async (line) => {
  const { id, words } = JSON.parse(line) as { id: number; words: [string, ...never[]] };
  const [name, ...rest] = words;
  const value = await actions[name]!(...rest);
  process.stdout.write(`${JSON.stringify({ id, value: value ?? null })}\n`);
});
