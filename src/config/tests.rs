use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::model::Money;

const EXAMPLE: &str = include_str!("../../config.example.toml");

fn mistakes(text: &str) -> Vec<String> {
    let errors = Config::parse(text, "c").expect_err("the file has mistakes");
    errors.to_string().lines().map(str::to_owned).collect()
}

#[test]
fn the_example_runs_as_it_is() {
    let config = Config::parse(EXAMPLE, "config.example.toml").unwrap();
    assert_eq!(config.api.listen, "127.0.0.1:8080".parse::<SocketAddr>().unwrap());
    assert_eq!(config.sip.listeners[0].advertised, "127.0.0.1:5060".parse::<SocketAddr>().unwrap());
    assert_eq!(config.media.ports, (20_000, 29_999));
    assert_eq!(config.trunks[0].target, "127.0.0.1:5070".parse::<SocketAddr>().unwrap());
    assert_eq!(config.trunks[0].ping, Some(Duration::from_secs(30)));
    assert_eq!(config.prices[0].1.per_minute, Money::from_micros(10_000));
    let acme = &config.organizations[0];
    assert_eq!(acme.allowed_destinations, ["+1", "!+1900"]);
    assert_eq!(acme.keys[0].sha256, DEMO_KEY);
    assert_eq!(acme.users[0].phone, crate::model::E164::parse("+14155550100").ok());
}

/// The example says what each default is: with all those lines taken in, nothing changes.
#[test]
fn the_defaults_that_the_example_shows_are_the_defaults() {
    let shown: String = EXAMPLE
        .lines()
        .filter(|line| {
            let examples =
                ["# advertise", "# username", "# password", "# realm", "# prefixes", "# failure_wav", "# ca_file"];
            let dns = ["# dns_servers"];
            let tls = ["# certificate_file", "# key_file", "# certificate_name", "# certificate_url"];
            let room = ["# max_calls = 100 ", "# max_calls_per_second"];
            // There is no cap of their own by default.
            let caps = ["# max_legs_per_user", "# max_legs_per_destination"];
            let turn = ["# [[webrtc.turn]]", "# uri", "# secret", "# ttl_seconds"];
            let admin = ["# key_sha256", "# [[admin.key]]", "# name", "# sha256"];
            let cluster = ["# [cluster]", "# node", "# url", "# lease_seconds", "# hep = ", "# hep_password"];
            !examples
                .iter()
                .chain(&tls)
                .chain(&room)
                .chain(&dns)
                .chain(&turn)
                .chain(&admin)
                .chain(&caps)
                .chain(&cluster)
                .any(|key| line.starts_with(key))
        })
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.starts_with('[') || rest.contains(" = ") => rest,
            Some(_) | None => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let (shown, short) = (Config::parse(&shown, "shown").unwrap(), Config::parse(EXAMPLE, "short").unwrap());
    assert_eq!(format!("{shown:?}"), format!("{short:?}"));
}

#[test]
fn every_mistake_is_named_at_once_with_its_place_and_a_way_out() {
    let text = r#"
[api]
listen = "127.0.0.1:9090"
lisen = "x"

[store]
url = "postgres://db"

[sip]
listen = ["ws:127.0.0.1:5060", "udp:0.0.0.0:5060", "udp:127.0.0.1:20010"]

[media]
ports = "29999-20000"
fast_path = "yes"

[calls]
ring_timeout_seconds = "45"
max_calls = 0

[[trunk]]
name = "carrier"
uri = "sip:me@sip.carrier.example"
username = "me"

[[price]]
prefix = "1"
per_minute = "a lot"

[[price]]
prefix = "+1"
per_minute = "0.01"

[[organization]]
id = "acme"
allowed_destinations = ["+1", "!+1", "+44", "44"]
daily_spend_limit = 50
max_legs_per_user = 1
max_legs_per_destination = 0
breaker_window_seconds = 59
breaker_short_answers = 101
breaker_answer_percent = 51
breaker_min_calls = 1
breaker_pause_seconds = "long"
timezone = "Mars/Olympus"

[[organization.user]]
id = "alice"
phone = "+1 415 555 0100"

[[organization.number]]
number = "+12025550100"

[[organization.number]]
number = "+12025550100"

[[organization.key]]
user = "bob"
sha256 = "secret"
scopes = ["calls:everything"]

[[organisation]]
"#;
    insta::assert_snapshot!(mistakes(text).join("\n"));
}

#[test]
fn every_mistake_of_the_webhooks_is_named_with_a_way_out() {
    let webhooks = r#"
[webhooks]
allow_http_loopback = "yes"
ca_file = 7
key_file = true
max_in_flight = 0
max_in_flight_per_receiver = 20000
max_subscriptions = "many"
max_inflight = 3
"#;
    insta::assert_snapshot!(mistakes(webhooks).join("\n"));
}

#[test]
fn receivers_on_loopback_are_for_a_server_on_loopback() {
    let lab = format!("{EXAMPLE}\n[webhooks]\nallow_http_loopback = true\nkey_file = \"k\"\n");
    let config = Config::parse(&lab, "c").unwrap();
    assert!(config.webhooks.allow_http_loopback);
    assert_eq!(config.webhooks.key_file, Path::new("k"));
    assert_eq!(Config::parse(EXAMPLE, "c").unwrap().webhooks.key_file, Path::new("revbridge.db.webhooks-key"));
    let open = lab.replace("listen = \"127.0.0.1:8080\"", "listen = \"192.0.2.1:8080\"");
    let found = mistakes(&open);
    assert!(found.iter().any(|m| m.contains("webhooks.allow_http_loopback: is for tests on loopback")), "{found:#?}");
}

#[test]
fn broken_toml_is_named_with_everything_else_that_can_be_read() {
    let text = "[api]\nlisten = \n[sip\n[admin]\nlisten = \"nowhere\"\n";
    let found = mistakes(text);
    assert!(found.iter().any(|m| m.starts_with("c:2:") && m.contains("not TOML")), "{found:#?}");
    assert!(found.iter().any(|m| m.starts_with("c:5:10: admin.listen: expected an IP address")), "{found:#?}");
}

#[test]
fn the_demo_key_opens_nothing_but_loopback() {
    for (from, to) in [
        ("listen = \"127.0.0.1:8080\"", "listen = \"0.0.0.0:8080\""),
        ("listen = \"127.0.0.1:9090\"", "listen = \"192.0.2.1:9090\""),
        ("udp:127.0.0.1:5060", "udp:192.0.2.1:5060"),
        ("address = \"127.0.0.1\"", "address = \"192.0.2.1\""),
        ("listen = \"127.0.0.1:7000\"", "listen = \"192.0.2.1:7000\""),
    ] {
        let text = EXAMPLE.replacen(from, to, 1);
        assert_ne!(text, EXAMPLE);
        let found = mistakes(&text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("organization.key.sha256: this is the demo key"), "{found:#?}");
        let own = text.replace("2926c3cf", "00000000");
        Config::parse(&own, "c").unwrap();
    }
}

#[test]
fn addresses_that_collide_are_named() {
    let text = EXAMPLE.replace("127.0.0.1:9090", "127.0.0.1:8080").replace("udp:127.0.0.1:5060", "udp:127.0.0.1:20010");
    let found = mistakes(&text);
    assert!(found[0].contains("admin.listen: 127.0.0.1:8080 is already taken by api.listen"), "{found:#?}");
    assert!(found[1].contains("sip.listen: port 20010 lies in media.ports"), "{found:#?}");
}

#[test]
fn every_mistake_of_the_browser_paths_is_named_with_a_way_out() {
    let text = r#"
[webrtc]
enabled = "yes"
listen = "0.0.0.0:0"
tcp = 1
advertise = "0.0.0.0"
public_url = "calls.example.com"
allowed_origins = ["*", "https://App.example.com", "https://app.example.com/", "http://localhost:80", "null", 7]
grace_seconds = 0
try_page = "on"
graze_seconds = 3

[[webrtc.turn]]
uri = "stun:stun.example.com"
ttl_seconds = 5

[[webrtc.turn]]
uri = "turn:turn.example.com:99999"
secret = ""
"#;
    insta::assert_snapshot!(mistakes(text).join("\n"));
}

#[test]
fn browsers_need_addresses_that_they_can_be_told_and_ports_of_their_own() {
    let example = |from: &str, to: &str| {
        let text = EXAMPLE.replacen(from, to, 1).replace("2926c3cf", "00000000");
        assert_ne!(text, EXAMPLE);
        mistakes(&text)
    };
    let found = example("listen = \"127.0.0.1:7000\"", "listen = \"0.0.0.0:7000\"");
    assert!(found[0].contains("webrtc.listen: browsers cannot be told this address"), "{found:#?}");
    let found = example("listen = \"127.0.0.1:7000\"", "listen = \"127.0.0.1:7000\"\nadvertise = \"::1\"");
    assert!(found[0].contains("webrtc.advertise: is of another family"), "{found:#?}");
    for (port, name) in [("5060", "sip.listen"), ("20100", "media.ports"), ("8080", "api.listen")] {
        let found = example("127.0.0.1:7000", &format!("127.0.0.1:{port}"));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains("webrtc.listen: port") && found[0].contains(name), "{found:#?}");
    }
    // A URL cannot be guessed once clients come from elsewhere.
    let text = EXAMPLE.replace("127.0.0.1:8080\"  #", "x\"  #").replace("public_url", "# public_url");
    let text = text.replace("127.0.0.1:8080", "192.0.2.1:8080").replace("2926c3cf", "00000000");
    let found = mistakes(&text);
    assert!(found[0].contains("webrtc.public_url: missing"), "{found:#?}");
}

#[test]
fn a_turn_secret_is_shown_to_nobody() {
    let turn = "[[webrtc.turn]]\nuri = \"turns:turn.example.com\"\nsecret = \"s3cr3t\"\n\n# [calls]";
    let config = Config::parse(&EXAMPLE.replace("# [calls]", turn), "c").unwrap();
    assert_eq!(&*config.webrtc.as_ref().unwrap().turn[0].secret, "s3cr3t");
    assert!(!format!("{config:?}").contains("s3cr3t"));
    assert!(Config::parse(&EXAMPLE.replace("enabled = true", "enabled = false"), "c").unwrap().webrtc.is_none());
}

#[test]
fn a_collector_needs_traces_and_an_address_and_its_password_is_shown_to_nobody() {
    let found =
        mistakes("[trace]\nhep = \"udp:192.0.2.20:9060\"\nhep_id = 0\nhep_password = \"\"\nkeep_days = 40000\n");
    let about = |key: &str| found.iter().any(|mistake| mistake.contains(&format!("trace.{key}: ")));
    assert!(["hep", "hep_id", "hep_password", "keep_days"].into_iter().all(about), "{found:?}");
    for collector in
        ["192.0.2.20:9060", "tcp:192.0.2.20:9060", "udp:0.0.0.0:9060", "udp:192.0.2.20:0", "udp:homer:9060"]
    {
        let found = mistakes(&format!("[trace]\nenabled = true\nhep = \"{collector}\"\n"));
        assert!(found.iter().any(|mistake| mistake.contains("trace.hep: ")), "{collector}: {found:?}");
    }
    let hep = super::HepConfig {
        collector: "192.0.2.20:9060".parse().unwrap(),
        id: 1,
        password: Some("hidden".into()),
        numbers: false,
    };
    assert!(!format!("{hep:?}").contains("hidden"));
}

#[test]
fn a_file_of_sqlite_has_one_node() {
    let solo = Config::parse(EXAMPLE, "c").unwrap().cluster;
    assert_eq!((&*solo.node, solo.url, solo.lease), ("solo", None, Duration::from_secs(10)));
    let text = "[cluster]\nnode = \"a b\"\nurl = \"https://10.0.0.1:8080/v1\"\nlease_seconds = 2\n\n[sip]";
    let found = mistakes(&EXAMPLE.replacen("[sip]", text, 1));
    let found: Vec<_> = found.iter().filter_map(|mistake| mistake.split_once(": ")).map(|(_, what)| what).collect();
    insta::assert_snapshot!(found.join("\n"));
}

#[test]
fn ipv6_is_an_address_like_any_other() {
    let text = EXAMPLE
        .replace("udp:127.0.0.1:5060", "udp:[::1]:5060")
        .replace("sip:127.0.0.1:507", "sip:[::1]:507")
        .replace("address = \"127.0.0.1\"", "address = \"::1\"");
    let config = Config::parse(&text, "c").unwrap();
    assert_eq!(config.trunks[0].target, "[::1]:5070".parse::<SocketAddr>().unwrap());
    assert_eq!(&*config.trunks[0].host, "[::1]");
    let found = mistakes(&EXAMPLE.replace("sip:127.0.0.1:5070", "sip:[::1]:5070"));
    assert!(found[0].contains("no sip.listen has udp and an IPv6 address; add udp:[ADDRESS]:5060"), "{found:#?}");
}

#[test]
fn trunks_on_tcp_and_tls_need_a_listener_and_tls_needs_to_be_somebody() {
    let with = |listen: &str, uri: &str, tls: &str| {
        format!("[sip]\nlisten = [{listen}]\n[tls]\n{tls}\n[[trunk]]\nname = \"c\"\nuri = \"{uri}\"\n")
    };
    let identity = "certificate_file = \"a.pem\"\nkey_file = \"a.key\"";
    let all = "\"udp:127.0.0.1:5060\", \"tcp:127.0.0.1:5060\", \"tls:127.0.0.1:5061\"";
    for (uri, transport, target) in [
        ("sip:127.0.0.2;transport=tcp", Transport::Tcp, "127.0.0.2:5060"),
        ("sip:127.0.0.2;transport=tls", Transport::Tls, "127.0.0.2:5061"),
        ("sips:127.0.0.2:5070", Transport::Tls, "127.0.0.2:5070"),
        ("sip:127.0.0.2", Transport::Udp, "127.0.0.2:5060"),
    ] {
        let config = Config::parse(&with(all, uri, identity), "c").unwrap();
        assert_eq!((config.trunks[0].transport, config.trunks[0].target), (transport, target.parse().unwrap()));
        assert_eq!(&*config.trunks[0].certificate_name, "127.0.0.2");
    }
    let advertised = with(all, "sip:127.0.0.2", identity).replace("[tls]", "advertise = \"192.0.2.1:6000\"\n[tls]");
    let listeners = Config::parse(&advertised, "c").unwrap().sip.listeners;
    let ports: Vec<_> = listeners.iter().map(|listener| listener.advertised.port()).collect();
    assert_eq!(ports, [6000, 6000, 5061]);
    for (listen, uri, tls, expected) in [
        (
            "\"udp:127.0.0.1:5060\"",
            "sip:127.0.0.2;transport=tcp",
            "",
            "no sip.listen has tcp and an IPv4 address; add tcp:ADDRESS:5060",
        ),
        (
            "\"tls:127.0.0.1:5061\"",
            "sip:127.0.0.2;transport=tls",
            "",
            "tls: needs certificate_file and key_file in [tls]",
        ),
        (all, "sips:127.0.0.2;transport=udp", identity, "sips: is TLS, which does not go over UDP"),
        (all, "sip:127.0.0.2;transport=sctp", identity, "expected sip:HOST[:PORT];transport=udp, tcp or tls"),
        (all, "sip:127.0.0.2", "key_file = \"a.key\"", "certificate_file and key_file belong together"),
        (
            "\"tcp:127.0.0.1:5060\", \"tls:127.0.0.1:5060\"",
            "sip:127.0.0.2;transport=tcp",
            identity,
            "127.0.0.1:5060 is listed twice",
        ),
    ] {
        let found = mistakes(&with(listen, uri, tls));
        assert!(found.iter().any(|mistake| mistake.contains(expected)), "{expected}: {found:#?}");
    }
    for (uri, port, transport) in [
        ("sip:sip.carrier.example", None, None),
        ("sip:sip.carrier.example:5070;transport=tcp", Some(5070), Some(Transport::Tcp)),
        ("sips:sip.carrier.example", None, Some(Transport::Tls)),
    ] {
        let trunk = Config::parse(&with(all, uri, identity), "c").unwrap().trunks.remove(0);
        let name = trunk.name_to_resolve.as_ref().unwrap();
        assert_eq!((&*name.host, name.port, name.transport), ("sip.carrier.example", port, transport));
        assert_eq!((&*trunk.certificate_name, trunk.port), ("sip.carrier.example", port));
    }
    for (uri, expected) in [
        ("sip:-x.example", "expected a host name"),
        ("sip:sip.example:0", "expected sip:HOST[:PORT]"),
        ("sip:1.2.3", "expected sip:HOST[:PORT]"),
    ] {
        assert!(mistakes(&with(all, uri, identity))[0].contains(expected), "{uri}");
    }
    let found = mistakes(&with("\"udp:127.0.0.1:5060\"", "sips:sip.carrier.example", ""));
    assert!(found[0].contains("no sip.listen has tls; add tls:ADDRESS:5061"), "{found:#?}");
    let named = with(all, "sips:127.0.0.2", identity) + "certificate_name = \"-x\"\n";
    assert!(mistakes(&named)[0].contains("expected the name in the trunk's certificate"));
}

#[test]
fn admin_keys_are_given_by_their_hashes_and_each_has_a_name() {
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let with = |lines: &str| format!("[admin]\n{lines}\n[[trunk]]\nname = \"c\"\nuri = \"sip:127.0.0.1:5070\"\n");
    let alice = format!("key_sha256 = \"{one}\"\n[[admin.key]]\nname = \"alice\"\nsha256 = \"{two}\"");
    let keys = Config::parse(&with(&alice), "c").unwrap().admin.keys;
    let names: Vec<_> = keys.iter().map(|key| (&*key.name, key.sha256[0])).collect();
    assert_eq!(names, [("admin", 0x11), ("alice", 0x22)]);
    assert_eq!(Config::parse(&with(""), "c").unwrap().admin.keys, []);
    for (lines, expected) in [
        ("key = \"secret\"", "admin.key: the file holds only a key's hash"),
        ("key_sha256 = \"secret\"", "admin.key_sha256: expected 64 hexadecimal digits"),
        (&alice.replace("alice", "file"), "admin.key.name: this is what the file itself is called"),
        (&alice.replace("alice", "admin"), "admin.key.name: stands in the file already"),
        (&alice.replace(&two, &one), "admin.key.sha256: stands in the file already"),
        (&alice.replace("alice", "a\\nb"), "admin.key.name: expected 1 to 64 letters"),
    ] {
        let found = mistakes(&with(lines));
        assert!(found.len() == 1 && found[0].contains(expected), "{found:#?}");
        assert!(!found[0].contains("secret"), "{found:#?}");
    }
}

#[test]
fn a_file_may_leave_organizations_and_prices_to_the_admin_api() {
    let trunk = "[[trunk]]\nname = \"c\"\nuri = \"sip:127.0.0.1:5070\"\n";
    assert!(Config::parse(trunk, "c").unwrap().organizations.is_empty());
    let acme = "[[organization]]\nid = \"acme\"\nallowed_destinations = [\"+44\"]\ndaily_spend_limit = \"1\"\n";
    assert_eq!(Config::parse(&format!("{trunk}{acme}"), "c").unwrap().organizations.len(), 1);
}

#[test]
fn a_file_that_is_not_there_is_a_mistake_too() {
    let found = Config::load(Path::new("no/such/file.toml")).unwrap_err().to_string();
    assert!(found.starts_with("no/such/file.toml:1:1: cannot be read"), "{found}");
}

#[test]
fn who_signs_registers_or_hides_has_what_that_needs() {
    let start = EXAMPLE.find("[[trunk]]").unwrap();
    let with = |head: &str, trunk: &str| {
        let (before, rest) = EXAMPLE.split_at(start);
        format!("{before}{head}\n[[trunk]]\n{trunk}\n{}", rest.strip_prefix("[[trunk]]").unwrap())
    };
    let credentials = "username = \"u\"\npassword = \"p\"\nrealm = \"r\"";
    let stir = "[stir]\nkey_file = \"k.pem\"\ncertificate_url = \"https://c.example/a.pem\"";
    for (head, trunk, said) in [
        ("", "sign = true", "trunk.sign: needs key_file and certificate_url in [stir]"),
        ("", "register = true", "trunk.register: needs username, password and realm"),
        ("", "session_expires_seconds = 60", "trunk.session_expires_seconds: expected 0 or at least 90"),
        ("", "privacy = \"id\"", "trunk.privacy: \"id\" needs trusted = true"),
        ("", "trusted = true\nprivacy = \"all\"", "trunk.privacy: expected \"none\" or \"id\""),
        ("[stir]\nkey_file = \"k.pem\"", "", "stir.certificate_url: missing"),
        (&stir.replace("https", "http"), "", "stir.certificate_url: expected https://"),
        (&stir.replace("a.pem", "a>.pem#x"), "", "stir.certificate_url: expected https://"),
        (&stir.replace("c.example", "u:p@c.example"), "", "stir.certificate_url: expected https://"),
    ] {
        let found = mistakes(&with(head, trunk));
        assert!(found.iter().any(|line| line.contains(said)), "{said}: {found:?}");
    }
    let all = format!("{credentials}\nsign = true\nregister = true\ntrusted = true\nprivacy = \"id\"");
    let config = Config::parse(&with(stir, &all), "c").unwrap();
    let trunk = &config.trunks[0];
    assert_eq!((trunk.session_expires, trunk.reliable_provisionals), (Some(1_800), true));
    assert_eq!((trunk.sign, trunk.privacy, trunk.register), (true, Privacy::Id, Some(Duration::from_secs(3_600))));
    assert_eq!(&*config.stir.unwrap().certificate_url, "https://c.example/a.pem");
}
