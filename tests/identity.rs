//! Who we say that calls, off the wire of the real server: the signed statement, checked by OpenSSL with the public key
//! alone, and the privacy that a trunk is asked for. Base64, JSON's order and the signature's form are read by hand here.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "the lab is all sockets, clocks and threads")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::json;
use support::{DESTINATION, Habit, Handset, Lab, Message, Phone, Server, Settings, require_tool};

const SHOWN: &str = "+12025550100";
const URL: &str = "https://certificates.example/revbridge.pem";
const SOON: Duration = Duration::from_secs(10);

/// A key pair by OpenSSL.
struct Keys {
    private: PathBuf,
    public: PathBuf,
}

impl Keys {
    fn new(folder: &Path, form: &[&str]) -> Self {
        let (private, public) = (folder.join("stir-key.pem"), folder.join("stir-public.pem"));
        openssl(form, &[&private]);
        let arguments = ["pkey", "-pubout", "-in", private.to_str().unwrap(), "-out"];
        openssl(&arguments, &[&public]);
        Self { private, public }
    }

    fn lines(&self) -> String {
        format!("[stir]\nkey_file = \"{}\"\ncertificate_url = \"{URL}\"\n", self.private.display())
    }

    /// Whether the statement is signed by the private key.
    fn verify(&self, token: &str, folder: &Path) -> bool {
        let (input, signature) = token.rsplit_once('.').expect("three parts");
        let files = [("input", input.as_bytes().to_vec()), ("signature", der(&base64url(signature)))];
        for (name, bytes) in &files {
            fs::write(folder.join(name), bytes).expect("a file for openssl");
        }
        let mut command = Command::new("openssl");
        command.args(["dgst", "-sha256", "-verify"]).arg(&self.public).arg("-signature");
        command.arg(folder.join("signature")).arg(folder.join("input")).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().expect("openssl runs").success()
    }
}

fn openssl(arguments: &[&str], more: &[&Path]) {
    require_tool("openssl", "openssl");
    let mut command = Command::new("openssl");
    let status = command.args(arguments).args(more).stderr(Stdio::null()).status();
    assert!(status.expect("openssl runs").success(), "{arguments:?}");
}

/// RFC 4648 §5, without padding.
fn base64url(text: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bits, mut held, mut bytes) = (0u32, 0, Vec::new());
    for letter in text.chars() {
        bits = bits << 6 | LETTERS.find(letter).unwrap_or_else(|| panic!("no letter of base64url: {letter}")) as u32;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

/// The two numbers of a signature (RFC 7518 §3.4) as OpenSSL takes them.
fn der(signature: &[u8]) -> Vec<u8> {
    assert_eq!(signature.len(), 64);
    let number = |half: &[u8]| {
        let mut bytes: Vec<u8> = half.iter().copied().skip_while(|b| *b == 0).collect();
        if bytes[0] >= 0x80 {
            bytes.insert(0, 0);
        }
        [vec![2, bytes.len() as u8], bytes].concat()
    };
    let both = [number(&signature[..32]), number(&signature[32..])].concat();
    [vec![0x30, both.len() as u8], both].concat()
}

/// Places a call, and takes the INVITE that the destination gets.
fn invited(lab: &Lab, settings: Settings) -> (Server, Phone, Message) {
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let mut phone = Phone::new(lab.destination());
    let server = Server::start(settings);
    let call = server.place(json!({}));
    let invite = phone.expect("INVITE");
    phone.answer(&invite, "486 Busy Here", &[], "");
    phone.expect("ACK");
    let record = server.ended(&call, SOON).expect("a record");
    assert_eq!(record["end_reason"], "destination_busy", "{record}");
    (server, phone, invite)
}

fn signing(lab: &Lab, keys: &Keys) -> Settings {
    Settings { tls: keys.lines(), carrier: "sign = true".into(), ..lab.settings() }
}

const PKCS8: &[&str] = &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"];
/// With the curve's parameters before the key.
const SEC1: &[&str] = &["ecparam", "-name", "prime256v1", "-genkey", "-out"];

#[test]
fn openssl_verifies_what_an_invite_says_of_its_caller() {
    for form in [PKCS8, SEC1] {
        let lab = Lab::new();
        let keys = Keys::new(lab.folder(), form);
        let (server, _phone, invite) = invited(&lab, signing(&lab, &keys));
        let (token, parameters) = invite.header("Identity").split_once(';').expect("parameters");
        assert_eq!(parameters, format!("info=<{URL}>;alg=ES256;ppt=shaken"));
        assert!(keys.verify(token, lab.folder()));

        let parts: Vec<&str> = token.split('.').collect();
        let [head, claims] = [0, 1].map(|i| String::from_utf8(base64url(parts[i])).expect("text"));
        assert_eq!(head, format!(r#"{{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"{URL}"}}"#));
        let (callee, caller) = (&DESTINATION[1..], &SHOWN[1..]);
        let rest = claims.strip_prefix(&format!(r#"{{"attest":"A","dest":{{"tn":["{callee}"]}},"iat":"#));
        let (issued, rest) = rest.unwrap_or_else(|| panic!("{claims}")).split_once(',').expect("more");
        assert!(rest.starts_with(&format!(r#""orig":{{"tn":"{caller}"}},"origid":""#)), "{claims}");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
        assert!(now - issued.parse::<u64>().expect("seconds") < 30, "{claims}");
        let date = seconds_of(invite.header("Date"));
        assert_eq!(date, issued.parse::<u64>().expect("seconds"));

        // A changed statement, and a changed signature.
        for at in [40, token.len() - 40] {
            let mut changed = token.to_owned().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!keys.verify(std::str::from_utf8(&changed).unwrap(), lab.folder()), "changed at {at}");
        }
        let secret = fs::read_to_string(&keys.private).expect("the key");
        let secret = secret.lines().rfind(|line| !line.starts_with('-')).expect("a line");
        assert!(!server.log().contains(secret));
    }
}

/// What `date` makes of an HTTP date.
fn seconds_of(date: &str) -> u64 {
    let output = Command::new("date").args(["-u", "-d", date, "+%s"]).output().expect("date runs");
    assert!(output.status.success() && date.ends_with(" GMT"), "{date}");
    String::from_utf8(output.stdout).expect("digits").trim().parse().expect("seconds")
}

#[test]
fn each_invite_is_signed_anew_and_a_repeated_one_is_the_same() {
    let lab = Lab::new();
    let keys = Keys::new(lab.folder(), PKCS8);
    let settings = signing(&lab, &keys);
    let _user = Handset::new(lab.user(), Habit::ANSWERS);
    let mut phone = Phone::new(lab.destination());
    let server = Server::start(settings);
    let call = server.place(json!({}));
    let first = phone.expect("INVITE");
    let again = phone.expect("INVITE");
    assert_eq!(first.header("Identity"), again.header("Identity"));
    // Into the next second.
    std::thread::sleep(Duration::from_millis(1_100));
    let challenge = "WWW-Authenticate: Digest realm=\"trunk.example\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";
    phone.answer(&first, "401 Unauthorized", &[challenge], "");
    let second =
        phone.find("an answered challenge", |m| m.method() == "INVITE" && !m.header("Authorization").is_empty());
    let token = second.header("Identity").split(';').next().expect("a token");
    assert_ne!(second.header("Identity"), first.header("Identity"));
    assert!(keys.verify(token, lab.folder()));
    phone.answer(&second, "486 Busy Here", &[], "");
    assert!(server.ended(&call, SOON).is_some());
}

#[test]
fn a_trunk_that_asks_for_nothing_gets_no_statement() {
    let lab = Lab::new();
    let keys = Keys::new(lab.folder(), PKCS8);
    let (_server, phone, invite) = invited(&lab, Settings { carrier: String::new(), ..signing(&lab, &keys) });
    assert!(phone.heard.iter().all(|m| m.header("Identity").is_empty() && m.header("Privacy").is_empty()));
    assert!(invite.header("P-Asserted-Identity").is_empty());
    assert!(invite.header("From").contains(SHOWN));
}

#[test]
fn a_trusted_trunk_is_told_the_number_and_may_be_asked_to_keep_it() {
    for (lines, anonymous) in [("trusted = true", false), ("trusted = true\nprivacy = \"id\"", true)] {
        let lab = Lab::new();
        let (_server, phone, invite) = invited(&lab, Settings { carrier: lines.into(), ..lab.settings() });
        assert!(invite.header("P-Asserted-Identity").starts_with(&format!("<sip:{SHOWN}@")));
        assert_eq!(invite.header("Privacy"), if anonymous { "id" } else { "" });
        let from = invite.header("From");
        assert_eq!(from.starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="), anonymous, "{from}");
        assert_eq!(invite.header("Contact").contains(SHOWN), !anonymous);
        assert_eq!(phone.heard.iter().filter(|m| m.method() == "ACK" && m.header("From") == from).count(), 1);
    }
}

#[test]
fn a_key_that_cannot_sign_is_found_by_the_check_and_keeps_the_server_from_starting() {
    let lab = Lab::new();
    let form = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out"];
    let keys = Keys::new(lab.folder(), &form);
    let settings = signing(&lab, &keys);
    let file = lab.folder().join("refused.toml");
    fs::write(&file, settings.config()).expect("a configuration");
    for command in [&["check-config"][..], &["serve", "--config"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_revbridge")).args(command).arg(&file).output();
        let output = output.expect("the server runs");
        assert!(!output.status.success());
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("[stir] key_file") && said.contains("curve P-256"), "{said}");
    }
}
