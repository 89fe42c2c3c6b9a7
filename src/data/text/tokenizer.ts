import { DataError } from "../../errors.ts";

/** What text data ask of a tokenizer; those of `@huggingface/tokenizers` and of transformers.js's `_tokenizer` fit. */
export interface TextTokenizer {
  /** The tokens of a text, or of two, with the special tokens that the tokenizer adds unless `add_special_tokens` is false. */
  encode(text: string, options?: EncodeOptions): Encoded;
}

interface EncodeOptions {
  readonly text_pair?: string;
  readonly add_special_tokens?: boolean;
  readonly return_token_type_ids?: boolean;
}

interface Encoded {
  readonly ids: readonly number[];
  readonly token_type_ids?: readonly number[];
}

/** Which tokens of a sample that is too long are left out, as Hugging Face's libraries name it: of a pair, those of the longer text first. */
export type Truncation = "longest-first" | "only-first" | "only-second";

/** Their names. */
export const truncations: readonly Truncation[] = ["longest-first", "only-first", "only-second"];

/** The facts about a tokenizer beside its vocabulary. */
export interface TokenizerFacts {
  /** The token for padding: its own, else the one that ends a text, else 0. */
  readonly padToken: number;
  readonly padsLeft: boolean;
  readonly truncatesLeft: boolean;
  /** The token `[MASK]`, if it has one. */
  readonly maskToken?: number;
  /** The most tokens that the model reads, if the tokenizer says it. */
  readonly mostTokens?: number;
  /** Every token that stands for no text. */
  readonly specialTokens: readonly number[];
}

/** The tokens of one text or of a pair, exactly `length` of them, and which are no padding. */
interface PaddedTokens {
  readonly ids: Int32Array;
  readonly attention: Uint8Array;
  /** 1 for the tokens of the second text. */
  readonly types: Uint8Array;
  /** Whether tokens were left out. */
  readonly isCut: boolean;
}

/** One text, or two that make one sample. */
export type TextOrPair = readonly [string] | readonly [string, string];

/** The number of tokens of a text or a pair. */
export const tokensIn = ([text, pair]: TextOrPair, tokenizer: TextTokenizer): number =>
  tokenizer.encode(text, pair === undefined ? {} : { text_pair: pair }).ids.length;

/**
 * Tokens of a text or a pair for a model of sequences: more tokens than `length` are cut, special tokens stay; fewer are padded.
 * The same as Hugging Face's `tokenizer(text, pair, truncation=…, padding="max_length", max_length=length)`.
 * @throws DataError where `truncation` names a text that is not long enough
 */
export function paddedTokens(
  [text, pair]: TextOrPair,
  tokenizer: TextTokenizer,
  { padToken, padsLeft, truncatesLeft }: TokenizerFacts,
  length: number,
  truncation: Truncation = "longest-first",
): PaddedTokens {
  const whole = tokenizer.encode(text, {
    ...(pair !== undefined && { text_pair: pair, return_token_type_ids: true }),
  });
  const isCut = whole.ids.length > length;
  const places = isCut
    ? keptPlaces([text, ...(pair === undefined ? [] : [pair])], tokenizer, whole.ids, {
        length,
        truncation,
        fromLeft: truncatesLeft,
      })
    : whole.ids.map((_, at) => at);
  const at = padsLeft ? length - places.length : 0;
  const ids = new Int32Array(length).fill(padToken);
  const types = new Uint8Array(length);
  for (const [i, place] of places.entries()) {
    ids[at + i] = whole.ids[place] as number;
    types[at + i] = whole.token_type_ids?.[place] ?? 0;
  }
  const attention = new Uint8Array(length).fill(1, at, at + places.length);
  return { ids, attention, types, isCut };
}

/** The places of the tokens that stay: all special ones, and as many of each text as there is room for. */
function keptPlaces(
  texts: readonly string[],
  tokenizer: TextTokenizer,
  whole: readonly number[],
  how: { readonly length: number; readonly truncation: Truncation; readonly fromLeft: boolean },
): number[] {
  const { length, truncation, fromLeft } = how;
  const plain = texts.map((text) => tokenizer.encode(text, { add_special_tokens: false }).ids);
  const added = whole.length - plain.reduce((sum, { length: own }) => sum + own, 0);
  let from = 0;
  const starts = plain.map((tokens) => {
    while (from <= whole.length && !tokens.every((token, i) => whole[from + i] === token)) from += 1;
    const start = from;
    from += tokens.length;
    return start;
  });
  const all = whole.map((_, at) => at);
  if (from > whole.length || added > length) return fromLeft ? all.slice(-length) : all.slice(0, length);
  const sizes = plain.map((tokens) => tokens.length);
  const kept = truncated(sizes, length - added, truncation);
  const dropped = new Set(
    starts.flatMap((start, i) => {
      const [size = 0, rest = 0] = [sizes[i], kept[i]];
      const first = fromLeft ? start : start + rest;
      return Array.from({ length: size - rest }, (_, at) => first + at);
    }),
  );
  return all.filter((at) => !dropped.has(at));
}

/** The tokens that stay of each text, as Hugging Face's fast tokenizers cut. */
function truncated(sizes: readonly number[], room: number, truncation: Truncation): number[] {
  const [first = 0, second] = sizes;
  if (second === undefined) return [room];
  if (truncation === "longest-first") {
    const shorter = Math.min(first, second);
    const whole = shorter > room ? shorter : Math.max(shorter, room - shorter);
    const [less, more] = shorter + whole > room ? [room >> 1, room - (room >> 1)] : [shorter, whole];
    return first <= second ? [less, more] : [more, less];
  }
  const other = truncation === "only-first" ? second : first;
  const rest = room - other;
  if (rest < 1) {
    throw new DataError(
      `the ${truncation === "only-first" ? "second" : "first"} text alone has ${other} tokens, and ${truncation} leaves it whole: use a larger --length, or --truncation longest-first`,
    );
  }
  return truncation === "only-first" ? [rest, other] : [other, rest];
}
