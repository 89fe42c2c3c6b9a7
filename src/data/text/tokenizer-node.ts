import { createHash } from "node:crypto";
import { join, resolve } from "node:path";
import { FileError, messageOf, UsageError } from "../../errors.ts";
import { textIn } from "../../onnx/read-file.ts";
import { reasonOf } from "../../onnx/write-file.ts";
import type { TextTokenizer, TokenizerFacts } from "./tokenizer.ts";

/** A tokenizer of a folder. */
export interface LoadedTokenizer {
  readonly folder: string;
  readonly checksum: string;
  readonly tokenizer: TextTokenizer;
  readonly facts: TokenizerFacts;
}

/** The parts of Hugging Face's files that are read here. */
interface TokenizerJson {
  readonly added_tokens?: readonly {
    readonly id: number;
    readonly content: string;
    readonly special?: boolean;
  }[];
}
type NamedToken = string | { readonly content: string } | null | undefined;
interface TokenizerConfig {
  readonly pad_token?: NamedToken;
  readonly eos_token?: NamedToken;
  readonly mask_token?: NamedToken;
  readonly padding_side?: string;
  readonly truncation_side?: string;
  readonly model_max_length?: number;
}

/**
 * Reads a tokenizer as Hugging Face's libraries save it: `tokenizer.json` and, where they are there, `tokenizer_config.json` and
 * `special_tokens_map.json`.
 * @throws UsageError without the package `@huggingface/tokenizers`; FileError for files that cannot be read
 */
export async function loadTokenizer(folder: string): Promise<LoadedTokenizer> {
  const path = join(folder, "tokenizer.json");
  const text = await contentOf(path);
  if (text === undefined) {
    throw new FileError(
      `${folder}: there is no tokenizer.json; give the folder into which tokenizer.save_pretrained wrote it`,
    );
  }
  const json = parsed<TokenizerJson>(text, path);
  const config: TokenizerConfig = {
    ...(await optional<TokenizerConfig>(folder, "special_tokens_map.json")),
    ...(await optional<TokenizerConfig>(folder, "tokenizer_config.json")),
  };
  const { Tokenizer } = await tokenizers();
  let tokenizer: InstanceType<typeof Tokenizer>;
  try {
    tokenizer = new Tokenizer(json, config);
  } catch (error) {
    throw new FileError(`${path}: @huggingface/tokenizers cannot read it (${messageOf(error)})`);
  }
  const idOf = (token: NamedToken): number | undefined => {
    const content = typeof token === "object" ? token?.content : token;
    return content === undefined ? undefined : tokenizer.token_to_id(content);
  };
  const maskToken = idOf(config.mask_token);
  return {
    folder: resolve(folder),
    checksum: createHash("sha256").update(text).digest("hex").slice(0, 16),
    tokenizer,
    facts: {
      padToken: idOf(config.pad_token) ?? idOf(config.eos_token) ?? 0,
      padsLeft: config.padding_side === "left",
      truncatesLeft: config.truncation_side === "left",
      ...(maskToken !== undefined && { maskToken }),
      // A tokenizer without a limit says 10^30.
      ...((config.model_max_length ?? 1e9) < 1e9 && { mostTokens: config.model_max_length }),
      specialTokens: (json.added_tokens ?? []).filter(({ special }) => special).map(({ id }) => id),
    },
  };
}

async function tokenizers(): Promise<typeof import("@huggingface/tokenizers")> {
  try {
    return await import("@huggingface/tokenizers");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new UsageError(
      "--tokenizer needs the package @huggingface/tokenizers, which is not there: npm install @huggingface/tokenizers",
    );
  }
}

async function contentOf(path: string): Promise<string | undefined> {
  try {
    return await textIn(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  }
}

function parsed<T>(text: string, path: string): T {
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new FileError(`${path}: no JSON (${messageOf(error)})`);
  }
}

async function optional<T>(folder: string, name: string): Promise<Partial<T>> {
  const path = join(folder, name);
  const text = await contentOf(path);
  return text === undefined ? {} : parsed<T>(text, path);
}
