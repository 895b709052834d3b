// A remote worker for Understudy that needs nothing but Node: it counts the words of what it is given.
//   node examples/worker.mjs [host:port] [user] [client_id]
import { randomBytes, randomUUID } from "node:crypto";
import { request } from "node:http";

const [address = "127.0.0.1:12000", user_id = "dev", client_id = randomUUID()] = process.argv.slice(2);
const agent = { name: "Word counter", role: "Counter", capabilities: ["count words"], max_concurrent_tasks: 4 };

async function work(description, parameters) { // what your worker is good at goes here
  await new Promise((done) => setTimeout(done, 1000 * (parameters.seconds ?? 0)));
  if (parameters.fail) throw new Error("I was asked to fail.");
  return { words: description.split(/\s+/).length };
}

async function hear({ type, content, metadata }, say) { // an event of the daemon
  const update = (status, sentence, more) => say("task_update", { task_id: metadata.task_id, attempt: metadata.attempt, status, ...more }, sentence);
  if (type === "welcome") say("register_agent", agent);
  if (type === "error" || metadata.agent_id) console.log(content || `registered as ${metadata.agent_id}`);
  if (type === "task_assigned") await work(content, metadata.parameters).then((result) => update("completed", "Counted.", { result }), (error) => update("failed", error.message, { error: error.message }));
}

function frame(opcode, payload) { // a WebSocket frame; what a client sends is masked
  const size = payload.length, mask = randomBytes(4), head = Buffer.alloc(size < 126 ? 2 : size < 65536 ? 4 : 10);
  head.writeUInt16BE((128 | opcode) << 8 | 128 | (size < 126 ? size : size < 65536 ? 126 : 127));
  if (head.length === 4) head.writeUInt16BE(size, 2); else if (head.length === 10) head.writeBigUInt64BE(BigInt(size), 2);
  return Buffer.concat([head, mask, payload.map((byte, place) => byte ^ mask[place % 4])]);
}

function talk(socket, rest) {
  const say = (type, metadata, content = "") => socket.write(frame(1, Buffer.from(JSON.stringify({ id: randomUUID(), type, content, metadata }))));
  const beat = setInterval(say, 20000, "heartbeat", {});
  socket.on("error", () => {}).on("close", () => { clearInterval(beat); again(); }).on("data", (data) => {
    rest = Buffer.concat([rest, data]);
    for (let start, size; rest.length >= (start = { 126: 4, 127: 10 }[rest[1]] ?? 2); rest = rest.subarray(start + size)) {
      size = start === 2 ? rest[1] : start === 4 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
      if (rest.length < start + size) return;
      const opcode = rest[0] & 15, payload = rest.subarray(start, start + size);
      if (opcode === 1) hear(JSON.parse(payload), say); else if (opcode > 7) socket.write(frame(opcode === 9 ? 10 : opcode, payload)); // pong, or the close
    }
  });
  say("hello", { user_id, client_id });
}

const again = () => setTimeout(connect, 2000 * Math.random()); // as the same client: it goes on with what it had
const upgrade = () => ({ Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": 13, "Sec-WebSocket-Key": randomBytes(16).toString("base64") });
const connect = () => request(`http://${address}/ws`, { headers: upgrade() }).on("upgrade", (_, socket, first) => talk(socket, first)).on("response", again).on("error", again).end();
connect();
