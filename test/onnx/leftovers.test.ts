import { execFileSync } from "node:child_process";
import {
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readRunSettings } from "../../src/cli/run-settings.ts";
import { exportCheckpoint, loadData, readAdapter, readModel } from "../../src/index.ts";
import { writeFileSafely } from "../../src/onnx/write-file.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sorth-leftovers-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("writing a file", () => {
  it("removes what a killed process left of the same file, and nothing else", async () => {
    const dead = 2 ** 22 + 1;
    const names = {
      left: `.out.onnx.${dead}-0a1b2c3d.tmp`,
      young: `.out.onnx.${dead}-11111111.tmp`,
      alive: `.out.onnx.${process.ppid}-0a1b2c3d.tmp`,
      ofAnother: `.other.onnx.${dead}-0a1b2c3d.tmp`,
    };
    for (const name of Object.values(names)) writeFileSync(at(name), "x");
    for (const name of [names.left, names.alive, names.ofAnother]) utimesSync(at(name), 1, 1);
    await writeFileSafely(at("out.onnx"), "whole");
    const { left: _, ...others } = names;
    expect(readdirSync(folder).sort()).toEqual([...Object.values(others), "out.onnx"].sort());
  });

  it("writes through a symbolic link, which stays", async () => {
    writeFileSync(at("real"), "old");
    symlinkSync("real", at("link"));
    await writeFileSafely(at("link"), "new", { force: true });
    expect(lstatSync(at("link")).isSymbolicLink()).toBe(true);
    expect(readFileSync(at("real"), "utf8")).toBe("new");
    symlinkSync("nowhere", at("lost"));
    await expect(writeFileSafely(at("lost"), "new", { force: true })).rejects.toThrow(
      /a link to a file that/,
    );
  });

  it("refuses pipes and devices, to write and to read", async () => {
    execFileSync("mkfifo", [at("pipe")]);
    await expect(writeFileSafely(at("pipe"), "x", { force: true })).rejects.toThrow(/a device or a pipe/);
    expect(lstatSync(at("pipe")).isFIFO()).toBe(true);
    await expect(writeFileSafely("/dev/null", "x", { force: true })).rejects.toThrow(/a device or a pipe/);
    await expect(readModel(at("pipe"))).rejects.toThrow(/it is a pipe/);
    for (const name of ["pipe.csv", "pipe.npz"]) {
      execFileSync("mkfifo", [at(name)]);
      await expect(loadData(at(name))).rejects.toThrow(/it is a pipe/);
    }
    for (const name of ["adapter_model.safetensors", "last.safetensors", "run.json", "train.csv"])
      execFileSync("mkfifo", [at(name)]);
    const isPipe = /it is a pipe, a device or a socket/;
    await expect(readAdapter(folder)).rejects.toThrow(isPipe);
    await expect(exportCheckpoint(folder)).rejects.toThrow(isPipe);
    await expect(readRunSettings(folder)).rejects.toThrow(isPipe);
    await expect(loadData(folder)).rejects.toThrow(isPipe);
  });
});
