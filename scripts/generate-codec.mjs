// Writes src/onnx/schema.js and src/onnx/schema.d.ts from src/onnx/schema.proto. Run: npm run codec
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const out = "src/onnx/schema.js";
const options = [
  ...["--target", "static-module", "--root", "sorth-onnx", "--wrap", "esm"],
  ...["--dependency", "protobufjs/minimal.js", "--no-verify", "--no-convert", "--no-create"],
  ...["--no-delimited", "--no-typeurl", "--force-long", "--out", out, "src/onnx/schema.proto"],
];
// The declarations are made of comments in the code. They keep their texts; nobody reads those in the code.
for (const form of ["--dts", "--no-comments"])
  execFileSync("node_modules/.bin/pbjs", [form, ...options], { stdio: "inherit" });
// An ES module cannot hold `import x = require()`.
const declarations = out.replace(/\.js$/, ".d.ts");
writeFileSync(
  declarations,
  readFileSync(declarations, "utf8").replace('import Long = require("long");', 'import Long from "long";'),
);
