import { loadData, type SplitData } from "../index.ts";
import type { Terminal } from "./terminal.ts";

/** Reads the data that `--data` names, and prints remarks about them. */
export async function readData(spec: string, terminal: Terminal): Promise<SplitData> {
  const data = await loadData(spec);
  for (const remark of data.remarks ?? []) terminal.note(remark);
  return data;
}
