/** A number of bytes as text: `512 B`, `79 kB`, `1.5 GB` (powers of 1000). */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB"] as const;
  let value = bytes;
  let unit: string = units[0];
  for (const next of units.slice(1)) {
    if (value < 999.5) break;
    value /= 1000;
    unit = next;
  }
  return `${value < 9.95 && unit !== "B" ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
