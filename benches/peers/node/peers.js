// Queues in JavaScript: `node peers.js <bullmq|bee> <port>` answers each line with a count of jobs
// with the milliseconds it took to send and to handle them.
import { createInterface } from 'node:readline';

const [, , peer, port] = process.argv;
const connection = { host: '127.0.0.1', port: Number(port) };
const job = (id) => ({ id, sent_at: 1_700_000_000_000 + id, pad: 'x'.repeat(100) });
const jobs = (first, count) => Array.from({ length: count }, (_, at) => job(first + at));
let runs = 0;

async function bullmq(count) {
  const { Queue, Worker } = await import('bullmq');
  const name = `bench-${process.pid}-${(runs += 1)}`;
  const queue = new Queue(name, { connection });
  const start = performance.now();
  for (let first = 0; first < count; first += 100) {
    const batch = jobs(first, Math.min(100, count - first));
    await queue.addBulk(batch.map((data) => ({ name: 'work', data, opts: { removeOnComplete: true } })));
  }
  const sent = performance.now();
  const worker = new Worker(name, async () => {}, { connection, concurrency: 100 });
  let left = count;
  await new Promise((done) => worker.on('completed', () => (left -= 1) || done()));
  const end = performance.now();
  await worker.close();
  await queue.close();
  return [sent - start, end - sent];
}

async function bee(count) {
  const { default: Queue } = await import('bee-queue');
  const name = `bench-${process.pid}-${(runs += 1)}`;
  const settings = { redis: connection, getEvents: false, sendEvents: false, removeOnSuccess: true };
  const queue = new Queue(name, { ...settings, isWorker: false });
  await queue.ready();
  const start = performance.now();
  for (let first = 0; first < count; first += 1000) {
    const batch = jobs(first, Math.min(1000, count - first));
    await queue.saveAll(batch.map((data) => queue.createJob(data)));
  }
  const sent = performance.now();
  const worker = new Queue(name, settings);
  let left = count;
  await new Promise((done) => {
    worker.on('succeeded', () => (left -= 1) || done());
    worker.process(100, async () => {});
  });
  const end = performance.now();
  await worker.close();
  await queue.close();
  return [sent - start, end - sent];
}

const run = { bullmq, bee }[peer];
for await (const line of createInterface({ input: process.stdin })) {
  console.log((await run(Number(line))).join(' '));
}
process.exit(0);
