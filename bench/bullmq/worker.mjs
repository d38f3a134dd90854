// The row bullmq: the same work per message as the other rows, with BullMQ and axios.
//
// That is three reads, a POST and two writes, 100 jobs at a time. Completed jobs are removed. Only
// the worker counts: the jobs are queued before. Prints the CPU seconds, the wall seconds and the
// messages as JSON.
//
//   node worker.mjs '{"socket": PATH, "url": URL, "form": {…}, "messages": N, "atATime": 100}'

import http from "node:http";

import axios from "axios";
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";

const { socket, url, form, messages, atATime } = JSON.parse(process.argv[2]);
const connection = { path: socket, maxRetriesPerRequest: null };
const redis = new Redis(connection);
const queue = new Queue("bench", { connection });
for (let start = 0; start < messages; start += 500) {
  const numbers = Array.from({ length: Math.min(500, messages - start) }, (_, at) => start + at);
  await queue.addBulk(
    numbers.map((number) => ({ name: "send", data: { number }, opts: { removeOnComplete: true } })),
  );
}

const api = axios.create({
  auth: { username: "AC00000000000000000000000000000000", password: "secret" },
  httpAgent: new http.Agent({ keepAlive: true, maxSockets: atATime }),
  timeout: 30_000,
});
const body = new URLSearchParams(form).toString();
const headers = { "Content-Type": "application/x-www-form-urlencoded" };

async function send(job) {
  const { number } = job.data;
  await redis.get(`bench:consent:${number}`);
  await redis.get(`bench:window:${number}`);
  await redis.get("bench:template");
  await redis.set(`bench:intent:${number}`, "1");
  const answer = await api.post(url, body, { headers });
  await redis.set(`bench:result:${number}`, answer.data.sid);
}

const began = process.hrtime.bigint();
const used = process.cpuUsage();
const worker = new Worker("bench", send, { connection, concurrency: atATime });
await new Promise((resolve, reject) => {
  let done = 0;
  worker.on("completed", () => {
    done += 1;
    if (done === messages) resolve();
  });
  worker.on("failed", (_job, error) => reject(error));
  worker.on("error", reject);
});
const { user, system } = process.cpuUsage(used);
const wall = Number(process.hrtime.bigint() - began) / 1e9;
console.log(JSON.stringify({ cpu: (user + system) / 1e6, wall, messages }));
await worker.close();
await queue.close();
await redis.quit();
