// An HTTP agent in Node without packages. It asks before it deploys, and is answered whenever somebody presses a button.
//
//   PORT=8080 AGENT_SECRET=whsec_... node agent.mjs
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const key = Buffer.from((process.env.AGENT_SECRET ?? "").replace(/^whsec_/, ""), "base64");

// Standard Webhooks: HMAC-SHA256 over id, time and body, not older than five minutes.
function signed(headers, body) {
  if (key.length === 0) return true;
  const id = headers["webhook-id"], time = headers["webhook-timestamp"];
  if (!(Math.abs(Date.now() / 1000 - Number(time)) < 300)) return false;
  const want = createHmac("sha256", key).update(`${id}.${time}.${body}`).digest();
  return (headers["webhook-signature"] ?? "").split(" ").some((signature) => {
    const [version, value] = signature.split(",");
    const got = Buffer.from(value ?? "", "base64");
    return version === "v1" && got.length === want.length && timingSafeEqual(got, want);
  });
}

function answer(turn) {
  const { text, source } = turn.event;
  if (turn.prompt) {
    const what = turn.prompt.ref;
    return { text: turn.prompt.option_id === "yes" ? `${source.user_name} deploys ${what}.` : `${what} stays where it is.` };
  }
  const [, what] = text.match(/^\/deploy\s+(\S+)/) ?? [];
  if (what) {
    return { actions: [{
      op: "prompt", prompt_kind: "approval", content: `Deploy ${what} to production?`, ref: what, timeout_s: 86400,
      options: [{ id: "yes", label: "Deploy" }, { id: "no", label: "Not now", style: "danger" }],
    }] };
  }
  return text ? { text: `You said: ${text}` } : {};
}

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString();
  if (!signed(request.headers, body)) {
    response.writeHead(401).end();
    return;
  }
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify(answer(JSON.parse(body))));
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => console.log(`listening on ${server.address().port}`));
