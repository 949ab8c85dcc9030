// Node's https against a port of this machine that serves `localhost`, verified by the file TRUSTED.
//
//     node client.js PORT TRUSTED [OPTIONS]
//
// OPTIONS is JSON for tls.connect, such as {"maxVersion": "TLSv1.2"}. Asks for /headers, comes back with the
// session that it got, and prints as JSON what was negotiated each time, or the alert that came, or the code of another error.
"use strict";
const fs = require("node:fs");
const https = require("node:https");

const [port, trusted, options] = process.argv.slice(2);

function visit(session) {
  return new Promise((resolve, reject) => {
    const asked = {
      host: "127.0.0.1", servername: "localhost", port, path: "/headers", headers: { Host: "localhost" },
      ca: fs.readFileSync(trusted), ALPNProtocols: ["h2", "http/1.1"], agent: false, session,
      ...JSON.parse(options || "{}"),
    };
    let told, ticket;
    const request = https.get(asked, (response) => {
      const socket = response.socket;
      told = {
        status: response.statusCode, version: socket.getProtocol(), cipher: socket.getCipher().standardName,
        key: socket.getEphemeralKeyInfo().name ?? null, alpn: socket.alpnProtocol,
        verified: socket.authorized, resumed: socket.isSessionReused(), fields: "",
      };
      response.setEncoding("utf8").on("data", (data) => { told.fields += data; });
    });
    request.on("socket", (socket) => socket.on("session", (data) => { ticket = data; }));
    request.on("error", reject);
    request.on("close", () => told && resolve([told, ticket]));
  });
}

(async () => {
  try {
    const [first, ticket] = await visit();
    const [second] = await visit(ticket);
    console.log(JSON.stringify({ first, second }));
  } catch (error) {
    const alert = /SSL alert number (\d+)/.exec(error.message);
    console.log(JSON.stringify(alert ? { alert: Number(alert[1]) } : { error: error.code }));
  }
})();
