// The SDK behind the words of `client.js`, so that the same calls are made by either.
import { RevDeskRoom, RevDeskRTC } from '/sdk/revdesk-webrtc.js';

const KEEP = 'about';

class Client {
  states = [];
  /** What the SDK has told, in order. */
  events = [];

  constructor(about) {
    this.about = about;
    const { api, path, token } = about;
    const room = path.startsWith('/v1/rooms/');
    this.leg = room ? new RevDeskRoom({ token, roomUrl: api + path }) : new RevDeskRTC({ token, url: api });
    const state = {
      connecting: () => 'connecting',
      ringing: ({ earlyMedia }) => (earlyMedia ? 'early_media' : 'ringing'),
      accept: () => 'answered',
      disconnect: () => 'ended',
    };
    for (const event of ['connecting', 'ringing', 'accept', 'reconnecting', 'reconnected', 'warning', 'disconnect', 'error', 'quality']) {
      this.leg.on(event, (data) => {
        this.events.push({ event, data: event === 'error' ? { code: data.code, message: data.message } : data });
        if (state[event]) this.states.push(state[event](data));
      });
    }
  }

  async connect() {
    sessionStorage.setItem(KEEP, JSON.stringify(this.about));
    await this.leg.connect();
  }

  static async resume() {
    const client = new Client(JSON.parse(sessionStorage.getItem(KEEP)));
    await client.leg.connect();
    return client;
  }

  /** The SDK restarts ICE when the browser says that the network has changed. */
  async restart() {
    const done = new Promise((resolve) => this.leg.on('reconnected', resolve));
    dispatchEvent(new Event('online'));
    await done;
  }

  async dial() {
    await this.leg.dial();
    return { status: 202 };
  }

  async hangup() {
    await this.leg.hangup();
    return { status: 200 };
  }

  mute(muted) {
    if (muted) this.leg.mute();
    else this.leg.unmute();
  }

  sendDigits(digits) {
    this.leg.sendDigits(digits);
  }
}

globalThis.Client = Client;
globalThis.ready = true;
