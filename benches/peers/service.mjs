// The no-op agent as a Restate service. The port to listen on, at 127.0.0.1, is the only argument.
import http2 from "node:http2";
import * as restate from "@restatedev/restate-sdk";

// The SDK calls it; Node has it from version 22 on.
Promise.withResolvers ??= function () {
  let resolve, reject;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  return { promise, resolve, reject };
};

const agent = restate.service({
  name: "agent",
  handlers: { echo: async (_context, input) => ({ echo: input }) },
});

http2.createServer(restate.createEndpointHandler({ services: [agent] })).listen(Number(process.argv[2]), "127.0.0.1");
