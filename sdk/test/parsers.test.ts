import { describe, expect, it } from "vitest";
import { iceServers } from "../src/link.js";
import { EventParser, type ServerEvent } from "../src/sse.js";

describe("Link", () => {
  it("names a TURN server with its credentials", () => {
    const header = '<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="1700:x"; credential="a+b/c="; credential-type="password"';
    expect(iceServers(header)).toEqual([{ urls: "turn:turn.example:3478?transport=udp", username: "1700:x", credential: "a+b/c=" }]);
  });

  it("holds several, with commas, semicolons, brackets and escapes inside quotes", () => {
    const header = '<turn:a>;rel="ice-server";username="u,<v>;w";credential="q\\"\\\\", <stun:b>; REL=ice-server , <turns:c>; rel="other ice-server"';
    expect(iceServers(header)).toEqual([{ urls: "turn:a", username: "u,<v>;w", credential: 'q"\\' }, { urls: "stun:b" }, { urls: "turns:c" }]);
  });

  it("takes the first of a parameter that is repeated", () => {
    expect(iceServers('<turn:a>; rel=ice-server; username="1"; username="2"; credential="c"')).toEqual([{ urls: "turn:a", username: "1", credential: "c" }]);
  });

  it.each([
    [null],
    [""],
    ['<https://x.example/>; rel="next"'],
    ['<https://x.example/>; rel="ice-server"'],
    ["<turn:a>"],
    ['<turn:a>; rel="not-ice-server"'],
    ['turn:a; rel="ice-server"'],
    ['<javascript:alert(1)>; rel="ice-server"'],
    ['; rel="ice-server"'],
    ['<turn:a; rel="ice-server"'],
  ])("finds no server in %s", (header) => {
    expect(iceServers(header)).toEqual([]);
  });

  it("believes sixteen servers, and reads a hostile header in linear time", () => {
    expect(iceServers('<turn:a>; rel="ice-server", '.repeat(1_000))).toHaveLength(16);
    const start = performance.now();
    iceServers(`<turn:a>${'; x="\\'.repeat(20_000)}`);
    iceServers("<".repeat(50_000));
    iceServers(`<turn:a>${"; ".repeat(50_000)}`);
    iceServers(`<turn:a>; rel${" ".repeat(50_000)}x`);
    expect(performance.now() - start).toBeLessThan(2_000);
  });
});

describe("server-sent events", () => {
  const stream = 'id: 1\nevent: state\ndata: {"state":"ringing"}\n\n: a comment\n\nid: 2\r\nevent: peer\r\ndata: {\r\ndata: "connected":true}\r\n\r\nid:3\rdata:x\r\r';
  const events: ServerEvent[] = [
    { name: "state", data: '{"state":"ringing"}' },
    { name: "peer", data: '{\n"connected":true}' },
    { name: "message", data: "x" },
  ];

  it("are the same in pieces of every size", () => {
    for (let size = 1; size <= stream.length; size++) {
      const parser = new EventParser();
      const seen: ServerEvent[] = [];
      for (let at = 0; at < stream.length; at += size) seen.push(...parser.push(stream.slice(at, at + size)));
      // A CR at the end of all waits for its LF; the next byte shows that there is none.
      seen.push(...parser.push(":"));
      expect(seen).toEqual(events);
      expect(parser.lastId).toBe("3");
    }
  });

  it("count their id from their end on, so that one cut off comes again", () => {
    const parser = new EventParser("6");
    expect(parser.push('id: 7\nevent: state\ndata: {"st')).toEqual([]);
    expect(parser.lastId).toBe("6");
  });

  it("know a byte order mark, unknown fields and ids that are none", () => {
    const parser = new EventParser();
    expect(parser.push("\uFEFFdata: a\nretry: 5\nwhat\nid: b\u0000c\n\n")).toEqual([{ name: "message", data: "a" }]);
    expect(parser.lastId).toBe("");
  });

  it("without end are refused", () => {
    const parser = new EventParser();
    expect(() => parser.push(`data: ${"x".repeat(70_000)}`)).toThrow(RangeError);
    const lines = new EventParser();
    expect(() => {
      for (let line = 0; line < 10_000; line++) lines.push(`data: ${"x".repeat(10)}\n`);
    }).toThrow(RangeError);
  });
});
