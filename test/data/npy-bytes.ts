/** What a `.npy` file of a test holds. */
export interface NpyFields {
  readonly descr: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
  readonly fortran?: boolean;
  readonly version?: 1 | 2;
}

/** The bytes of a `.npy` file, as NumPy writes them: header padded to 64 bytes. */
export function npyBytes(fields: NpyFields): Uint8Array<ArrayBuffer> {
  const { descr, shape, data, fortran = false, version = 1 } = fields;
  const tuple = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${descr}', 'fortran_order': ${fortran ? "True" : "False"}, 'shape': (${tuple}), }`;
  const start = version === 1 ? 10 : 12;
  const length = Math.ceil((start + text.length + 1) / 64) * 64 - start;
  const bytes = new Uint8Array(start + length + data.byteLength);
  bytes.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  new DataView(bytes.buffer)[version === 1 ? "setUint16" : "setUint32"](8, length, true);
  bytes.set(new TextEncoder().encode(`${text.padEnd(length - 1)}\n`), start);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start + length);
  return bytes;
}
