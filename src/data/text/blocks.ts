/** Joins the tokens of documents and cuts them in blocks of one length, as Hugging Face's run_clm and run_mlm do. */
export class TokenBlocks {
  readonly #length: number;
  #tokens = new Int32Array(65_536);
  #count = 0;

  constructor(length: number) {
    this.#length = length;
  }

  add(tokens: readonly number[]): void {
    if (this.#count + tokens.length > this.#tokens.length) {
      const larger = new Int32Array(Math.max(2 * this.#tokens.length, this.#count + tokens.length));
      larger.set(this.#tokens.subarray(0, this.#count));
      this.#tokens = larger;
    }
    this.#tokens.set(tokens, this.#count);
    this.#count += tokens.length;
  }

  /** Tokens so far. */
  get count(): number {
    return this.#count;
  }

  /** All whole blocks, [blocks, length]; the rest behind the last one is left out. */
  get whole(): Int32Array {
    return this.#tokens.slice(0, this.#count - (this.#count % this.#length));
  }
}
