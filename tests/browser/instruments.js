// Runs before every page's own script. Keeps each RTCPeerConnection that the page makes, and records the audio
// that it receives, at 8 kHz, with the wall clock's time of its first sample.
//
// Deliberately absent: a change of what the page does, but for two things of a laboratory: the microphone plays
// a pure tone, which the processing for speech would take for noise, so that is off; and `relay` leaves only
// TURN.
(() => {
  const RATE = 8000;
  const { relay } = globalThis.__settings;
  /** All connections of this page, oldest first. */
  const connections = [];
  globalThis.__connections = connections;

  const lab = (configuration) => (relay ? { ...configuration, iceTransportPolicy: 'relay' } : configuration);
  const Original = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Original {
    constructor(configuration) {
      super(lab(configuration ?? {}));
      connections.push(this);
      this.addEventListener('track', ({ track }) => record(track));
    }

    setConfiguration(configuration) {
      super.setConfiguration(lab(configuration));
    }
  };

  const devices = navigator.mediaDevices;
  if (devices) {
    const original = devices.getUserMedia.bind(devices);
    devices.getUserMedia = (wanted) => {
      const audio = typeof wanted?.audio === 'object' ? wanted.audio : {};
      const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
      return original({ ...wanted, audio: { ...audio, ...plain } });
    };
  }

  /** One entry per connection that has received a track: when its first sample came, and its samples. */
  const recordings = [];
  let context = null;

  async function record(track) {
    const stream = new MediaStream([track]);
    // Chromium moves a remote track's audio only while an element plays it.
    const element = new Audio();
    element.srcObject = stream;
    element.muted = true;
    element.play().catch(() => {});
    context ??= new AudioContext({ sampleRate: RATE });
    // A worklet is a script from an address, which a page's policy may forbid; this old node needs none.
    const node = context.createScriptProcessor(1024, 1, 1);
    const recording = { started: null, blocks: [], keep: [element, node] };
    recordings.push(recording);
    node.onaudioprocess = ({ inputBuffer }) => {
      recording.started ??= Date.now();
      recording.blocks.push(Int16Array.from(inputBuffer.getChannelData(0), (x) => Math.max(-1, Math.min(1, x)) * 32767));
    };
    context.createMediaStreamSource(stream).connect(node).connect(context.destination);
    await context.resume();
  }

  const samples = (recording) => recording.blocks.reduce((sum, block) => sum + block.length, 0);

  /** How many samples the newest connection has received. */
  globalThis.__heardSamples = () => (recordings.length ? samples(recordings.at(-1)) : 0);

  /** The newest connection's samples from `from` on: little-endian 16-bit integers in hexadecimal. */
  globalThis.__heard = (from = 0) => {
    if (!recordings.length) return '';
    const all = new Int16Array(samples(recordings.at(-1)));
    let at = 0;
    for (const block of recordings.at(-1).blocks) {
      all.set(block, at);
      at += block.length;
    }
    return new Uint8Array(all.buffer, Math.min(from, all.length) * 2).toHex();
  };
})();
