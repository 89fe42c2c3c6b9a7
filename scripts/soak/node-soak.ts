import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Reading, readingsPerRun, type Soak } from "./measures.ts";

const program = fileURLToPath(new URL("in-node.ts", import.meta.url));

/** Steps, or trainers made and released, in a process of their own in node. */
export function nodeSoak(backend: string, unit: "steps" | "trainers", amount: number, leak: number): Soak {
  async function* readings(): AsyncGenerator<Reading> {
    const words = [backend, unit, amount, Math.min(readingsPerRun, amount), leak].map(String);
    const child = spawn(process.execPath, ["--import", "tsx", program, ...words], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    try {
      for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line) as Reading;
      const code = await ended;
      if (code !== 0) throw new Error(`the process on ${backend} ended with code ${code}`);
    } finally {
      child.kill();
    }
  }
  return { name: `${unit} on ${backend}`, amount, unit, readings };
}
