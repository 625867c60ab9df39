import { Agent } from './agent.ts';
import { planeMakers } from './carriers.ts';

/**
 * The agent's process: `node agent.mjs FOLDER` runs it, `node agent.mjs FOLDER --clear` removes the planes' tables.
 * SIGHUP reads agent.json and the overrides again; SIGTERM ends it and leaves the tables.
 */
async function main(): Promise<void> {
  const [folder, option] = process.argv.slice(2);
  if (!folder || (option !== undefined && option !== '--clear')) {
    console.error('usage: node agent.mjs FOLDER [--clear]');
    process.exit(2);
  }
  const agent = new Agent(folder, planeMakers);
  if (option === '--clear') return agent.clear();
  const end = () => {
    agent.stop();
    process.exit(0);
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => agent.reload());
  await agent.start();
}

main().catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
