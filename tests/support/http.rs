//! An HTTP client that does one request per connection: enough to be a client of the API.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer that waits for the store.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or(Value::Null)
    }

    /// `data` of the envelope.
    pub fn data(&self) -> Value {
        self.json()["data"].clone()
    }
}

/// Sends one request and reads the answer to the end of the connection.
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> io::Result<Response> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut headers = headers.to_vec();
    if !body.is_empty() {
        headers.push(("Content-Type", "application/json"));
    }
    send(to, method, path, &headers, &body)
}

/// The same, with a body of any type.
pub fn send(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Response> {
    let mut stream = ask(to, method, path, headers, body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("not an HTTP answer"))
}

fn ask(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() || method == "POST" {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    stream.write_all((head + "\r\n" + body).as_bytes())?;
    Ok(stream)
}

/// An answer that is read as it comes.
pub struct Stream(TcpStream, String);

pub fn open(to: SocketAddr, method: &str, path: &str, secret: &str) -> Stream {
    let bearer = format!("Bearer {secret}");
    let stream = ask(to, method, path, &[("Authorization", &bearer)], "").expect("the server takes a connection");
    Stream(stream, String::new())
}

impl Stream {
    /// Reads until these words have come; all that has come so far.
    pub fn until(&mut self, words: &str) -> &str {
        while !self.1.contains(words) {
            let mut chunk = [0; 4_096];
            let read = self.0.read(&mut chunk).unwrap_or(0);
            assert!(read > 0, "no {words:?} in {}", self.1);
            self.1 += &String::from_utf8_lossy(&chunk[..read]);
        }
        &self.1
    }
}

fn parse(text: &str) -> Option<Response> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Response { status, headers, body: body.to_owned() })
}
