import { el } from "../dom.ts";

/** Longest side of a picture, in pixels: more than models of images take. */
const most = 512;

/** Why the browser gives no camera. */
const reasons: Readonly<Record<string, string>> = {
  NotAllowedError: "the browser was not allowed to use it; allow the camera for this page, then try again",
  NotFoundError: "there is none",
  NotReadableError: "another program uses it",
};

/** The user's camera: its moving picture, and square pictures out of it. */
export class Camera {
  readonly video = el("video", { muted: true, playsinline: true, "aria-label": "Picture of the camera" });
  #stream: MediaStream | undefined;

  /** Whether the camera is on. */
  get isOn(): boolean {
    return this.#stream !== undefined;
  }

  /** Turns the camera on. @returns why that did not work; undefined if it did */
  async start(): Promise<string | undefined> {
    if (this.#stream) return undefined;
    const { mediaDevices } = navigator as Partial<Pick<Navigator, "mediaDevices">>;
    if (!mediaDevices) return "No camera: browsers give it to pages of https and localhost only.";
    try {
      const wanted = { video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false };
      this.#stream = await mediaDevices.getUserMedia(wanted);
      this.video.muted = true;
      this.video.srcObject = this.#stream;
      await this.video.play();
      return undefined;
    } catch (error) {
      this.stop();
      const { name, message } = error as DOMException;
      return `No camera: ${reasons[name] ?? message}.`;
    }
  }

  /** Turns the camera off. */
  stop(): void {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = undefined;
    this.video.srcObject = null;
  }

  /** The middle of the current picture, a square; undefined while there is none. */
  async picture(): Promise<Blob | undefined> {
    const { videoWidth: width, videoHeight: height } = this.video;
    const side = Math.min(width, height);
    if (!this.#stream || side === 0) return undefined;
    const size = Math.min(side, most);
    const canvas = el("canvas", { width: size, height: size });
    canvas
      .getContext("2d")
      ?.drawImage(this.video, (width - side) / 2, (height - side) / 2, side, side, 0, 0, size, size);
    return new Promise((resolve) => canvas.toBlob((blob) => resolve(blob ?? undefined), "image/jpeg", 0.92));
  }
}
