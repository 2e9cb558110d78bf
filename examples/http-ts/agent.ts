// An HTTP agent in TypeScript: a plain handler without packages. Node runs it as it is from 22.18 on.
//
//   PORT=8080 AGENT_SECRET=whsec_... node agent.ts
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import type { Answer, Turn } from "../types/dormouse.d.ts";

const key = Buffer.from((process.env.AGENT_SECRET ?? "").replace(/^whsec_/, ""), "base64");

// Standard Webhooks: HMAC-SHA256 over id, time and body, not older than five minutes.
function signed(headers: IncomingHttpHeaders, body: string): boolean {
  if (key.length === 0) return true;
  const id = headers["webhook-id"], time = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(time)) < 300)) return false;
  const want = createHmac("sha256", key).update(`${id}.${time}.${body}`).digest();
  return String(headers["webhook-signature"] ?? "").split(" ").some((signature) => {
    const [version, value] = signature.split(",");
    const got = Buffer.from(value ?? "", "base64");
    return version === "v1" && got.length === want.length && timingSafeEqual(got, want);
  });
}

function answer(turn: Turn): Answer {
  const { text, source } = turn.event;
  const words = text.split(/\s+/).filter(Boolean);
  if (words.length === 0) return {}; // nothing to say to a picture
  if (words[0] === "/thanks") return { actions: [{ op: "react", emoji: "👍" }] };
  if (turn.late) return { text: `Sorry for the wait, ${source.user_name}. You said: ${text}` };
  return { text: `Hello ${source.user_name}, you said: ${text}` };
}

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  if (!signed(request.headers, body)) {
    response.writeHead(401).end(); // the message waits meanwhile
    return;
  }
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer(JSON.parse(body) as Turn)));
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});
