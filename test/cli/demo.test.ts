import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, request, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PageServer, servePage } from "../../src/cli/page-server.ts";
import { run } from "../../src/cli/program.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
}

const unbuilt = !existsSync("dist/page/index.html");

/** A request as it is given: fetch would tidy up paths. */
function ask(
  server: PageServer,
  path: string,
  method = "GET",
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const { port } = new URL(server.url);
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, path, method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    })
      .on("error", reject)
      .end();
  });
}

/** How long a test waits for what the server does soon, on a machine with other work too. */
const patience = 120_000;

/** How often this process has a file open; 0 where the system does not say. */
function openFiles(path: string): number {
  if (!existsSync("/proc/self/fd")) return 0;
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  }).length;
}

describe("the page's server", () => {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder.path, name);
  let withDigits: PageServer;
  let without: PageServer;

  beforeAll(async () => {
    mkdirSync(at("page/assets"), { recursive: true });
    mkdirSync(at("digits"));
    mkdirSync(at("page-secret"));
    writeFileSync(at("page/index.html"), "<p>page</p>");
    writeFileSync(at("page/assets/a.wasm"), "wasm");
    writeFileSync(at("page/assets/a.js"), "js");
    writeFileSync(at("digits/train-labels-idx1-ubyte"), "labels");
    writeFileSync(at("secret.txt"), "secret");
    writeFileSync(at("page-secret/index.html"), "secret");
    symlinkSync(at("secret.txt"), at("page/linked.txt"));
    symlinkSync(at("secret.txt"), at("digits/linked.txt"));
    symlinkSync(folder.path, at("page/linked"));
    if (process.platform !== "win32") spawnSync("mkfifo", [at("page/pipe")]);
    withDigits = await servePage({ folder: at("page"), mnist: at("digits"), port: 0 });
    without = await servePage({ folder: at("page"), mnist: undefined, port: 0 });
  });
  afterAll(async () => {
    await withDigits.close();
    await without.close();
    folder.remove();
  });

  it("serves files with their types, and with the headers that threads and the security policy need", async () => {
    const page = await ask(without, "/");
    expect([page.status, page.body]).toEqual([200, "<p>page</p>"]);
    expect(page.headers).toMatchObject({
      "content-type": "text/html;charset=utf-8",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
      "x-content-type-options": "nosniff",
    });
    const policy = String(page.headers["content-security-policy"]);
    expect(policy).toMatch(/default-src 'none'; script-src 'self' 'wasm-unsafe-eval';/);
    expect(policy).not.toMatch(/unsafe-(inline|hashes)|'unsafe-eval'|blob:|data:|https?:|\*/);
    expect((await ask(without, "/assets/a.wasm")).headers["content-type"]).toBe("application/wasm");
    expect((await ask(without, "/assets/a.js?v=1")).headers["content-type"]).toMatch(/javascript/);
    const missing = await ask(without, "/nothing.js");
    expect([missing.status, missing.headers["cross-origin-opener-policy"]]).toEqual([404, "same-origin"]);
  });

  it("serves MNIST where it is installed, and says whether it is", async () => {
    expect((await ask(withDigits, "/data/index.json")).body).toBe('{"mnist":{"suffix":""}}');
    expect((await ask(withDigits, "/data/mnist/train-labels-idx1-ubyte")).body).toBe("labels");
    expect((await ask(without, "/data/index.json")).body).toBe('{"mnist":null}');
    expect((await ask(without, "/data/mnist/train-labels-idx1-ubyte")).status).toBe(404);
  });

  it.each([
    "/../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/assets/../../secret.txt",
    "/../page-secret/index.html",
    "//secret.txt",
    "/data/mnist/../../secret.txt",
    "/data/mnist/%2e%2e/secret.txt",
    "/data/mnist/..%2fsecret.txt",
    "/%00",
    "/%ff",
    "/..\\secret.txt",
    "/..%5csecret.txt",
    "/%252e%252e/secret.txt",
    "/%252e%252e%252fsecret.txt",
    "/assets/..%2f..%2fsecret.txt",
    "/....//secret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/index.html%00.js",
    "/linked.txt",
    "/linked/secret.txt",
    "/data/mnist/linked.txt",
    "/pipe",
    "http://127.0.0.1/../secret.txt",
    "*",
  ])("%s leads nowhere", async (path) => {
    for (const server of [withDigits, without]) {
      const { status, body } = await ask(server, path);
      expect(status).toBe(404);
      expect(body).not.toContain("secret\n");
      expect(body).not.toBe("secret");
    }
  });

  it("takes GET and HEAD only", async () => {
    const head = await ask(without, "/", "HEAD");
    expect([head.status, head.body, head.headers["content-length"]]).toEqual([200, "", "11"]);
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"]) {
      const { status, headers } = await ask(without, "/", method);
      expect([method, status, headers.allow, headers.connection]).toEqual([
        ...[method, 405, "GET, HEAD", "close"],
      ]);
    }
  });

  it("answers no page of another origin, except where a link leads to it", async () => {
    const { host, origin } = new URL(without.url);
    const statusFor = async (headers: Record<string, string>) =>
      (await ask(without, "/assets/a.js", "GET", { Host: host, ...headers })).status;
    expect(await statusFor({ Origin: origin, "Sec-Fetch-Site": "same-origin" })).toBe(200);
    expect(await statusFor({ "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate" })).toBe(200);
    expect(await statusFor({ "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors" })).toBe(403);
    expect(await statusFor({ "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors" })).toBe(403);
    for (const foreign of ["https://evil.example", "null", "http://localhost:1", `${origin}.evil.example`]) {
      expect(await statusFor({ Origin: foreign })).toBe(403);
    }
    const { headers } = await ask(without, "/");
    expect(headers["access-control-allow-origin"]).toBeUndefined();
    expect(headers["cross-origin-resource-policy"]).toBe("same-origin");
    expect(headers["content-security-policy"]).toContain("frame-ancestors 'none'");
  });

  it("disconnects clients that send slowly or read nothing, and bounds their number", async () => {
    const large = at("page/unread.bin");
    writeFileSync(large, new Uint8Array(20_000_000));
    const server = await servePage({ folder: at("page"), mnist: undefined, port: 0, patience: 300 });
    const { port, host } = new URL(server.url);
    const begun = [
      "GET / HTTP/1.1\r\nX-Slow: ",
      `POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000000\r\n\r\n`,
      `GET /unread.bin HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      ...Array<string>(200).fill("GET /"),
    ];
    const sockets = begun.map((text) => {
      const socket = connect(Number(port), "127.0.0.1", () => socket.write(text)).pause();
      return socket.on("error", () => {});
    });
    if (existsSync("/proc/self/fd")) {
      await expect.poll(() => openFiles(large), { timeout: patience, interval: 10 }).toBe(1);
    }
    await expect.poll(() => openFiles(large), { timeout: patience, interval: 50 }).toBe(0);
    const answered = async () => (await ask(server, "/").catch(() => ({ status: 0 }))).status;
    await expect.poll(answered, { timeout: patience, interval: 50 }).toBe(200);
    for (const socket of sockets) socket.destroy();
    await server.close();
  });

  it.each(["bytes=5-1", "bytes=0-1", "bytes=99-", "bytes=-0", `bytes=${"0-1,".repeat(2000)}0-1`, "x"])(
    "sends the whole file for the range %.20s",
    async (range) => {
      const { status, body } = await ask(without, "/", "GET", { Range: range });
      expect([status, body]).toEqual([200, "<p>page</p>"]);
    },
  );

  it("says that a file did not change", async () => {
    const { headers } = await ask(without, "/");
    const again = await ask(without, "/", "GET", { "If-None-Match": String(headers.etag) });
    expect([again.status, again.body]).toEqual([304, ""]);
  });

  it("answers to its own names only", async () => {
    const { port } = new URL(without.url);
    expect((await ask(without, "/", "GET", { Host: `localhost:${port}` })).status).toBe(200);
    for (const Host of [
      "evil.example",
      `evil.example:${port}`,
      "127.0.0.1",
      `127.0.0.1.evil.example:${port}`,
    ]) {
      const { status, body } = await ask(without, "/", "GET", { Host });
      expect([status, body]).toEqual([403, "this server answers to 127.0.0.1 and localhost only\n"]);
    }
  });

  it("goes on, with no file open, after clients that go away and what cannot be read", async () => {
    const large = at("page/large.bin");
    writeFileSync(large, new Uint8Array(20_000_000));
    mkdirSync(at("page/folder.js"));
    symlinkSync(at("page/loop"), at("page/loop"));
    expect((await ask(without, "/folder.js")).status).toBe(404);
    expect((await ask(without, "/loop")).status).toBe(500);
    const { port } = new URL(without.url);
    for (let index = 0; index < 20; index++) {
      await new Promise<void>((resolve) => {
        const aborted = request({ host: "127.0.0.1", port, path: "/large.bin" }, (response) => {
          response.once("data", () => aborted.destroy());
          response.once("error", () => {});
          response.once("close", () => resolve());
        });
        aborted.once("error", () => {});
        aborted.end();
      });
    }
    await expect.poll(() => openFiles(large), { timeout: patience }).toBe(0);
    expect((await ask(without, "/")).status).toBe(200);
  });

  it("listens on the loopback interface alone", async () => {
    const { hostname, port } = new URL(without.url);
    expect(hostname).toBe("127.0.0.1");
    const connects = (host: string) =>
      new Promise<boolean>((resolve) => {
        const socket = connect(Number(port), host, () => resolve(true));
        socket.on("error", () => resolve(false)).on("connect", () => socket.destroy());
      });
    expect(await connects("127.0.0.1")).toBe(true);
    const others = Object.values(networkInterfaces()).flatMap((one = []) =>
      one.map(({ address }) => address),
    );
    // 127.0.0.2 is this computer too, on Linux.
    for (const host of [...others, "127.0.0.2"]) {
      if (host !== "127.0.0.1") expect([host, await connects(host)]).toEqual([host, false]);
    }
  });

  it("has no more than 128 connections at a time", async () => {
    const server = await servePage({ folder: at("page"), mnist: undefined, port: 0 });
    let closed = 0;
    const sockets = Array.from({ length: 140 }, () =>
      connect(Number(new URL(server.url).port), "127.0.0.1")
        .on("error", () => {})
        .on("close", () => closed++)
        .resume(),
    );
    await expect.poll(() => closed, { timeout: patience, interval: 20 }).toBe(12);
    for (const socket of sockets) socket.destroy();
    await server.close();
  });
});

describe("sorth-onnx demo", () => {
  let taken: Server;
  beforeAll(async () => {
    taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  });
  afterAll(() => new Promise((resolve) => taken.close(resolve)));

  it("says its address, and ends at Ctrl-C", async (context) => {
    context.skip(unbuilt, "dist/page is not built (npm run page)");
    const interrupt = new AbortController();
    let code: Promise<number> | undefined;
    const said = new Promise<string>((resolve) => {
      const stdout = { write: (text: string) => resolve(text.trim()) };
      const stderr = { write: () => {} };
      code = run(["demo", "--port", "0"], { stdout, stderr, onInterrupt: () => interrupt.signal });
    });
    const url = await said;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([200, expect.stringContaining("sorth-onnx")]);
    interrupt.abort();
    expect(await code).toBe(0);
    await expect(fetch(url)).rejects.toThrow();
  });

  it("says in one line when the port is taken, or is none", async (context) => {
    context.skip(unbuilt, "dist/page is not built (npm run page)");
    const { port } = taken.address() as AddressInfo;
    expect(await cli("demo", "--port", String(port))).toEqual({
      code: 1,
      stdout: "",
      stderr: `error: port ${port} of 127.0.0.1 is taken; give another one (--port N, 0 for any free one)\n`,
    });
    const { code, stderr } = await cli("demo", "--port", "70000");
    expect([code, stderr.trim().split("\n").length]).toEqual([2, 1]);
    expect(stderr).toContain("Give a port, 0 to 65535");
  });
});
