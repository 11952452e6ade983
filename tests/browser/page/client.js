// The browser side of both calling paths, written from the HTTP contract alone: what the SDK does, seen by an
// independent reader. It does nothing by itself; a test calls it step by step.
//
//   connect ──▶ 201 answer ──▶ dial (path A) ──▶ … events … ──▶ hangup
//                  └─ restart (ICE) and resume (after a reload): PATCH
//
// `globalThis.client` is the one client of the page; what a reload must survive is in `sessionStorage`.

const KEEP = 'client';
/** Opened once per page. */
let microphone;

const now = () => performance.timeOrigin + performance.now();

class Client {
  /** When `connect` came to its steps, in milliseconds since the epoch. */
  times = {};

  /** What the event stream said, in order: `{ event, id, data, at }`. */
  events = [];

  constructor({ api, path, token }) {
    Object.assign(this, { api, path, token });
  }

  /** Takes the microphone and makes the offer. ICE servers come with the answer. */
  async offer(options) {
    if (!this.connection) {
      this.connection = new RTCPeerConnection();
      microphone ??= (await navigator.mediaDevices.getUserMedia({ audio: true })).getAudioTracks()[0];
      this.microphone = microphone;
      const transceiver = this.connection.addTransceiver(this.microphone, { direction: 'sendrecv' });
      const wanted = ['audio/PCMU', 'audio/PCMA', 'audio/telephone-event'];
      const codecs = RTCRtpReceiver.getCapabilities('audio').codecs;
      transceiver.setCodecPreferences(codecs.filter((codec) => wanted.includes(codec.mimeType)));
      this.sender = transceiver.sender;
    }
    return this.connection.createOffer(options);
  }

  async connect() {
    const offer = await this.offer();
    this.times.offered = now();
    const answer = await this.exchange('POST', this.api + this.path, this.token, offer);
    this.times.answered = now();
    this.location = new URL(answer.headers.get('Location'), this.api).href;
    this.secret = answer.headers.get('Revbridge-Reconnect');
    sessionStorage.setItem(KEEP, JSON.stringify({ api: this.api, location: this.location, secret: this.secret }));
    this.link = answer.headers.get('Link');
    this.connection.setConfiguration({ iceServers: iceServers(this.link) });
    await this.connection.setLocalDescription(offer);
    await this.connection.setRemoteDescription({ type: 'answer', sdp: this.answer });
    this.listen();
    await this.connected();
    this.times.connected = now();
  }

  /** After a reload: a new connection, a new certificate, the same call. */
  static async resume() {
    const client = Object.assign(new Client({}), JSON.parse(sessionStorage.getItem(KEEP)));
    await client.renegotiate();
    client.listen();
    await client.connected();
    return client;
  }

  /** New ICE credentials for the connection that stands. */
  async restart() {
    await this.renegotiate({ iceRestart: true });
  }

  async renegotiate(options) {
    const offer = await this.offer(options);
    const answer = await this.exchange('PATCH', this.location, this.secret, offer);
    const link = answer.headers.get('Link');
    if (link) this.connection.setConfiguration({ iceServers: iceServers(link) });
    await this.connection.setLocalDescription(offer);
    await this.connection.setRemoteDescription({ type: 'answer', sdp: this.answer });
  }

  async exchange(method, url, bearer, offer) {
    this.offered = offer.sdp;
    const headers = { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/sdp' };
    const response = await fetch(url, { method, headers, body: offer.sdp });
    const body = await response.text();
    if (!response.ok) throw new Error(`${method} offer: ${response.status} ${body}`);
    this.answer = body;
    return response;
  }

  connected() {
    const { connection } = this;
    return new Promise((resolve, reject) => {
      const look = () => {
        if (connection.connectionState === 'connected') resolve();
        if (connection.connectionState === 'failed') reject(new Error('the connection failed'));
      };
      connection.addEventListener('connectionstatechange', look);
      setTimeout(() => reject(new Error(`not connected: ${connection.connectionState}`)), 15000);
      look();
    });
  }

  /** Reads the event stream until it ends, and comes back from where it was when it breaks. */
  async listen() {
    let last = null;
    while (!this.over) {
      try {
        const headers = { Authorization: `Bearer ${this.secret}`, ...(last && { 'Last-Event-ID': last }) };
        const response = await fetch(`${this.location}/events`, { headers });
        if (!response.ok) throw new Error(`events: ${response.status} ${await response.text()}`);
        const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = '';
        for (let part = await reader.read(); !part.done; part = await reader.read()) {
          text += part.value;
          const entries = text.split('\n\n');
          text = entries.pop();
          for (const entry of entries) {
            const event = parse(entry);
            if (!event) continue;
            last = event.id ?? last;
            this.events.push(event);
            this.over ||= event.event === 'state' && event.data.state === 'ended';
          }
        }
        this.streamEnded = Date.now();
      } catch (error) {
        console.log(`event stream: ${error.message}`);
      }
      if (!this.over) await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  ask(method, what, body) {
    const headers = { Authorization: `Bearer ${this.secret}` };
    if (body) headers['Content-Type'] = 'application/json';
    return fetch(this.location + what, { method, headers, body: body && JSON.stringify(body) });
  }

  async dial(body) {
    const response = await this.ask('POST', '/dial', body);
    return { status: response.status, body: await response.text() };
  }

  async hangup() {
    const response = await this.ask('POST', '/hangup');
    return { status: response.status, body: await response.text() };
  }

  mute(muted) {
    this.microphone.enabled = !muted;
  }

  sendDigits(digits) {
    this.sender.dtmf.insertDTMF(digits, 160, 100);
  }

  /** The states that the server told, in order. */
  get states() {
    return this.events.filter((e) => e.event === 'state').map((e) => e.data.state);
  }

  /** The addresses and protocol of the pair of candidates that carries the audio. */
  async route() {
    const stats = [...(await this.connection.getStats()).values()];
    const transport = stats.find((s) => s.type === 'transport');
    const pair = stats.find((s) => s.id === transport.selectedCandidatePairId);
    const [local, remote] = [pair.localCandidateId, pair.remoteCandidateId].map((id) => stats.find((s) => s.id === id));
    return { type: local.candidateType, protocol: local.protocol, relayProtocol: local.relayProtocol ?? null,
      remote: `${remote.address}:${remote.port}` };
  }
}

/** One entry of an event stream; `undefined` for a comment. */
function parse(entry) {
  const fields = entry.split('\n').filter((line) => line && !line.startsWith(':'))
    .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trimStart()]);
  if (!fields.length) return undefined;
  const { event, id, data } = Object.fromEntries(fields);
  return { event, id, data: data && JSON.parse(data), at: Date.now() };
}

/** `<turn:…>; rel="ice-server"; username="…"; credential="…"`, one after the other. */
function iceServers(link) {
  const servers = [...(link ?? '').matchAll(/<([^>]+)>((?:\s*;\s*[\w-]+="[^"]*")*)/g)];
  return servers.map(([, urls, rest]) => {
    const fields = Object.fromEntries([...rest.matchAll(/([\w-]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]));
    return { urls, username: fields.username, credential: fields.credential };
  });
}

globalThis.Client = Client;
globalThis.ready = true;
