/** What text data ask of a tokenizer; those of `@huggingface/tokenizers` and of transformers.js's `_tokenizer` fit. */
export interface TextTokenizer {
  /** The tokens of a text, with the special tokens that the tokenizer adds unless `add_special_tokens` is false. */
  encode(
    text: string,
    options?: { readonly add_special_tokens?: boolean },
  ): { readonly ids: readonly number[] };
}

/** The facts about a tokenizer beside its vocabulary. */
export interface TokenizerFacts {
  /** The token for padding: its own, else the one that ends a text, else 0. */
  readonly padToken: number;
  readonly padsLeft: boolean;
  readonly truncatesLeft: boolean;
  /** The token `[MASK]`, if it has one. */
  readonly maskToken?: number;
  /** Every token that stands for no text. */
  readonly specialTokens: readonly number[];
}

/** The tokens of one text, exactly `length` of them, and which are no padding. */
export interface PaddedTokens {
  readonly ids: Int32Array;
  readonly attention: Uint8Array;
}

/**
 * Tokens of a text for a model of sequences: a longer text is cut, its special tokens stay; a shorter one is padded. The same as
 * Hugging Face's `tokenizer(text, truncation=True, padding="max_length", max_length=length)`.
 */
export function paddedTokens(
  text: string,
  tokenizer: TextTokenizer,
  { padToken, padsLeft, truncatesLeft }: TokenizerFacts,
  length: number,
): PaddedTokens {
  const whole = tokenizer.encode(text).ids;
  const cut = whole.length > length ? cutTokens(text, tokenizer, whole, length, truncatesLeft) : whole;
  const at = padsLeft ? length - cut.length : 0;
  const ids = new Int32Array(length).fill(padToken);
  ids.set(cut, at);
  return { ids, attention: new Uint8Array(length).fill(1, at, at + cut.length).fill(0, at + cut.length) };
}

function cutTokens(
  text: string,
  tokenizer: TextTokenizer,
  whole: readonly number[],
  length: number,
  fromLeft: boolean,
): readonly number[] {
  const plain = tokenizer.encode(text, { add_special_tokens: false }).ids;
  const added = whole.length - plain.length;
  const before = Array.from({ length: added + 1 }, (_, from) => from).find((from) =>
    plain.every((token, i) => whole[from + i] === token),
  );
  const kept = length - added;
  if (before === undefined || kept < 0) return fromLeft ? whole.slice(-length) : whole.slice(0, length);
  return [
    ...whole.slice(0, before),
    ...(fromLeft ? plain.slice(plain.length - kept) : plain.slice(0, kept)),
    ...whole.slice(before + plain.length),
  ];
}
