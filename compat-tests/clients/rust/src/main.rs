//! The rust_socketio client: client URL. Prints one JSON line per scenario (../../README.md).

use rust_socketio::client::Client;
use rust_socketio::{ClientBuilder, Event, Payload, TransportType};
use serde_json::{json, Value};
use std::collections::HashMap;
use std::env;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::{Duration, Instant};

/// How long anything may take.
const SOON: Duration = Duration::from_secs(30);

const TRANSPORTS: [(&str, TransportType); 2] = [
    ("polling", TransportType::Polling),
    ("websocket", TransportType::Websocket),
];

type Outcome = Result<Option<&'static str>, String>;

/// What has happened to a client: the name of the event and its arguments, binary as {"hex": …}.
type Happened = (String, Value);

struct Peer {
    client: Client,
    events: Receiver<Happened>,
    /// Events that came before the one that was waited for.
    early: HashMap<String, Vec<Value>>,
}

fn plain(payload: Payload) -> Value {
    match payload {
        Payload::Text(values) => Value::Array(values),
        Payload::Binary(bytes) => json!([hex(&bytes)]),
        other => json!(format!("{other:?}")),
    }
}

fn hex(bytes: &[u8]) -> Value {
    json!({ "hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() })
}

fn same(got: Value, want: Value) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    let head = |v: Value| v.to_string().chars().take(500).collect::<String>();
    Err(format!("got {}, want {}", head(got), head(want)))
}

fn text<E: std::fmt::Display>(err: E) -> String {
    err.to_string()
}

/// A builder whose client reports what happens to it.
fn builder(transport: TransportType) -> (ClientBuilder, Receiver<Happened>) {
    let (sender, receiver): (Sender<Happened>, Receiver<Happened>) = channel();
    let report = |name: &'static str| {
        let sender = sender.clone();
        move |payload: Payload, _| drop(sender.send((name.to_string(), plain(payload))))
    };
    let mut builder = ClientBuilder::new(env::args().nth(1).expect("a URL"))
        .transport_type(transport)
        .reconnect(false)
        .on(Event::Connect, report("connect"))
        .on(Event::Close, report("close"))
        .on(Event::Error, report("error"));
    builder = builder.on_any(move |event, payload, _| {
        let _ = sender.send((event.as_str().to_string(), plain(payload)));
    });
    if let Some(ca) = env::var("CLIENT_CA").ok().filter(|ca| !ca.is_empty()) {
        let pem = std::fs::read(ca).expect("the certificate");
        let certificate = native_tls::Certificate::from_pem(&pem).expect("a certificate");
        let tls = native_tls::TlsConnector::builder()
            .add_root_certificate(certificate)
            .build();
        builder = builder.tls_config(tls.expect("TLS"));
    }
    (builder, receiver)
}

impl Peer {
    fn start((builder, events): (ClientBuilder, Receiver<Happened>)) -> Result<Peer, String> {
        let client = builder.connect().map_err(text)?;
        Ok(Peer {
            client,
            events,
            early: HashMap::new(),
        })
    }

    fn connected(transport: TransportType) -> Result<Peer, String> {
        let mut peer = Peer::start(builder(transport))?;
        peer.next("connect")?;
        Ok(peer)
    }

    fn emit<D: Into<Payload>>(&self, event: &str, args: D) -> Result<(), String> {
        self.client.emit(event, args).map_err(text)
    }

    /// The arguments of the next event of this name.
    fn next(&mut self, name: &str) -> Result<Value, String> {
        if let Some(values) = self.early.get_mut(name).filter(|values| !values.is_empty()) {
            return Ok(values.remove(0));
        }
        let end = Instant::now() + SOON;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok((event, args)) = self.events.recv_timeout(left) else {
                return Err(format!(
                    "event {name}: nothing within {SOON:?}, but {:?}",
                    self.early
                ));
            };
            if event == name {
                return Ok(args);
            }
            self.early.entry(event).or_default().push(args);
        }
    }

    /// How many events of this name have come and not been taken.
    fn count(&mut self, name: &str) -> usize {
        while let Ok((event, args)) = self.events.try_recv() {
            self.early.entry(event).or_default().push(args);
        }
        self.early.get(name).map_or(0, Vec::len)
    }

    /// The arguments that the server acknowledges with.
    fn call(&self, event: &str, args: Vec<Value>) -> Result<Value, String> {
        let (sender, receiver) = channel();
        let callback = move |payload: Payload, _| drop(sender.send(plain(payload)));
        self.client
            .emit_with_ack(event, args, SOON, callback)
            .map_err(text)?;
        let ack = receiver
            .recv_timeout(SOON)
            .map_err(|_| format!("acknowledgement of {event}: nothing"))?;
        // The client hands on the list of arguments as one argument.
        Ok(ack.get(0).cloned().unwrap_or(ack))
    }

    fn who_am_i(&mut self) -> Result<Value, String> {
        self.emit("who-am-i", json!(null))?;
        Ok(self.next("you")?[0].clone())
    }
}

fn event_args() -> Vec<Vec<Value>> {
    vec![
        vec![
            json!(1),
            json!(-1.5),
            json!("é 文字 😀"),
            json!(true),
            json!(null),
            json!([1, [2]]),
            json!({"a": {"b": []}, "": "x"}),
        ],
        vec![json!("x".repeat(100_000))],
    ]
}

fn connect(name: &str, transport: TransportType) -> Outcome {
    let mut peer = Peer::connected(transport)?;
    same(peer.who_am_i()?["transport"].clone(), json!(name))?;
    same(peer.call("echo-ack", vec![json!(1)])?, json!([1]))?;
    Ok(None)
}

fn upgrade() -> Outcome {
    // The client upgrades before it says that it is connected.
    let mut peer = Peer::connected(TransportType::WebsocketUpgrade)?;
    for i in 0..20 {
        peer.emit("echo", json!(i))?;
    }
    for i in 0..20 {
        same(peer.next("echo")?, json!([i]))?;
    }
    same(peer.who_am_i()?["transport"].clone(), json!("websocket"))?;
    Ok(None)
}

fn auth(transport: TransportType) -> Outcome {
    let (builder, events) = builder(transport);
    let auth = json!({"token": "secret", "user": "é&="});
    let mut peer = Peer::start((builder.auth(auth.clone()), events))?;
    peer.next("connect")?;
    same(peer.who_am_i()?["auth"].clone(), auth)?;
    Ok(None)
}

fn refusal() -> Outcome {
    for (token, want) in [("plain", "\"no token\""), ("wrong", "\"code\":\"E_TOKEN\"")] {
        let (builder, events) = builder(TransportType::Websocket);
        let mut peer = Peer::start((builder.auth(json!({ "token": token })), events))?;
        let err = peer.next("error")?[0]
            .as_str()
            .unwrap_or_default()
            .to_string();
        if !err.contains(want) {
            return Err(format!("error {err}"));
        }
    }
    Ok(None)
}

fn events(transport: TransportType) -> Outcome {
    let mut peer = Peer::connected(transport)?;
    for args in event_args() {
        peer.emit("echo", args.clone())?;
        same(peer.next("echo")?, json!(args))?;
    }
    for i in 0..100 {
        peer.emit("echo", json!(i))?;
    }
    for i in 0..100 {
        same(peer.next("echo")?, json!([i]))?;
    }
    peer.emit("burst", json!(null))?;
    for i in 0..200 {
        same(peer.next("number")?, json!([i]))?;
    }
    Ok(None)
}

/// The client knows events with one binary argument and nothing else, and breaks WebSocket messages at the byte 0x1e.
fn binary(transport: TransportType) -> Outcome {
    let mut peer = Peer::connected(transport)?;
    for bytes in [
        vec![0, 1, 2, 255],
        (0..50_000).map(|i| (i % 30) as u8).collect(),
    ] {
        peer.emit("echo", bytes.clone())?;
        same(peer.next("echo")?, json!([hex(&bytes)]))?;
    }
    Ok(None)
}

fn acknowledgements(transport: TransportType) -> Outcome {
    let peer = Peer::connected(transport)?;
    for args in event_args() {
        same(peer.call("echo-ack", args.clone())?, json!(args))?;
    }
    Ok(None)
}

fn rooms() -> Outcome {
    let mut a = Peer::connected(TransportType::Websocket)?;
    let mut b = Peer::connected(TransportType::Websocket)?;
    let mut c = Peer::connected(TransportType::Polling)?;
    a.call("join", vec![])?;
    b.call("join", vec![])?;
    c.emit("to-red", vec![json!("one"), json!(1)])?;
    for peer in [&mut a, &mut b] {
        same(peer.next("red")?, json!(["one", 1]))?;
    }
    a.emit("to-others-in-red", json!("two"))?;
    same(b.next("red")?, json!(["two"]))?;
    b.call("leave", vec![])?;
    c.emit("to-red", json!("three"))?;
    same(a.next("red")?, json!(["three"]))?;
    c.emit("to-others", json!("four"))?;
    for peer in [&mut a, &mut b] {
        same(peer.next("other")?, json!(["four"]))?;
    }
    // What has been delivered wrongly has come before these acknowledgements.
    for peer in [&mut a, &mut b, &mut c] {
        peer.call("echo-ack", vec![])?;
        same(
            json!([peer.count("red"), peer.count("other")]),
            json!([0, 0]),
        )?;
    }
    Ok(None)
}

/// The client has one namespace per connection.
fn namespaces() -> Outcome {
    let mut root = Peer::connected(TransportType::Websocket)?;
    let (custom, events) = builder(TransportType::Websocket);
    let mut custom = Peer::start((custom.namespace("/custom"), events))?;
    custom.next("connect")?;
    same(
        custom.call("echo-ack", vec![json!("custom")])?,
        json!(["custom"]),
    )?;
    custom.call("join", vec![])?;
    root.emit("to-red", json!("not for /custom"))?;
    same(root.call("echo-ack", vec![json!("root")])?, json!(["root"]))?;
    custom.emit("to-red", json!("for /custom"))?;
    same(custom.next("red")?, json!(["for /custom"]))?;
    let (nobody, events) = builder(TransportType::Websocket);
    let mut nobody = Peer::start((nobody.namespace("/nobody"), events))?;
    let err = nobody.next("error")?.to_string();
    if !err.contains("Invalid namespace") {
        return Err(format!("error {err}"));
    }
    same(json!(root.count("red")), json!(0))?;
    Ok(None)
}

fn disconnect_by_client() -> Outcome {
    let mut peer = Peer::connected(TransportType::Websocket)?;
    let mut witness = Peer::connected(TransportType::Websocket)?;
    let id = peer.who_am_i()?["id"].clone();
    peer.client.disconnect().map_err(text)?;
    peer.next("close")?;
    witness.emit("why-did", id)?;
    same(
        witness.next("because")?,
        json!(["client namespace disconnect"]),
    )?;
    Ok(None)
}

fn disconnect_by_server() -> Outcome {
    for event in ["kick", "kick-connection"] {
        let mut peer = Peer::connected(TransportType::Websocket)?;
        peer.emit(event, json!(null))?;
        peer.next("close")?;
    }
    Ok(None)
}

fn restart(transport: TransportType) -> Outcome {
    if transport == TransportType::Polling {
        return Ok(Some(
            "rust_socketio takes the close packet of a poll as final",
        ));
    }
    let (builder, events) = builder(transport);
    let builder = builder
        .reconnect(true)
        .reconnect_on_disconnect(true)
        .reconnect_delay(50, 200);
    let mut peer = Peer::start((builder, events))?;
    peer.next("connect")?;
    let id = peer.who_am_i()?["id"].clone();
    peer.emit("restart", json!(null))?;
    peer.next("connect")?;
    if peer.who_am_i()?["id"] == id {
        return Err("the id is still the same".to_string());
    }
    same(peer.call("echo-ack", vec![json!(1)])?, json!([1]))?;
    Ok(None)
}

fn main() {
    let only = env::var("SCENARIO").unwrap_or_default();
    let run = |name: String, scenario: &dyn Fn() -> Outcome| {
        if !name.contains(&only) {
            return;
        }
        let result = match scenario() {
            Ok(None) => json!({"name": name, "ok": true}),
            Ok(Some(reason)) => json!({"name": name, "skipped": reason}),
            Err(err) => json!({"name": name, "ok": false, "error": err}),
        };
        println!("{result}");
    };
    for (name, transport) in TRANSPORTS {
        run(format!("connect over {name}"), &|| {
            connect(name, transport.clone())
        });
    }
    run("upgrade".to_string(), &upgrade);
    for (name, transport) in TRANSPORTS {
        run(format!("auth over {name}"), &|| auth(transport.clone()));
    }
    run("refusal".to_string(), &refusal);
    for (name, transport) in TRANSPORTS {
        run(format!("events over {name}"), &|| events(transport.clone()));
        run(format!("binary over {name}"), &|| binary(transport.clone()));
        run(
            format!("acknowledgements by the server over {name}"),
            &|| acknowledgements(transport.clone()),
        );
        run(
            format!("acknowledgements by the client over {name}"),
            &|| Ok(Some("rust_socketio cannot acknowledge events")),
        );
    }
    run("rooms".to_string(), &rooms);
    run("namespaces".to_string(), &namespaces);
    run(
        "disconnect by the client".to_string(),
        &disconnect_by_client,
    );
    run(
        "disconnect by the server".to_string(),
        &disconnect_by_server,
    );
    for (name, transport) in TRANSPORTS {
        run(format!("reconnect over {name} after a restart"), &|| {
            restart(transport.clone())
        });
    }
    for (name, _) in TRANSPORTS {
        run(format!("recovery over {name}"), &|| {
            Ok(Some("rust_socketio knows no recovery"))
        });
    }
    // Threads of clients may still run.
    std::process::exit(0);
}
