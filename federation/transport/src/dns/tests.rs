use hearth_protocol::ambient::ManualClock;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use hickory_resolver::proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_resolver::proto::rr::Record;
use hickory_resolver::proto::rr::rdata::{A, AAAA};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;
use tokio::net::UdpSocket;

use super::*;

struct NameServer {
    port: u16,
    asked: Arc<AtomicUsize>,
}

/// A name server on loopback with a few records; it is silent about `silent.test`.
#[expect(
    clippy::disallowed_methods,
    reason = "the test server lives as long as the runtime"
)]
async fn name_server() -> NameServer {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    tokio::spawn(async move {
        let mut packet = [0; 1_500];
        loop {
            let (length, from) = socket.recv_from(&mut packet).await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let request = Message::from_vec(&packet[..length]).unwrap();
            if let Some(answer) = answer(&request) {
                socket
                    .send_to(&answer.to_vec().unwrap(), from)
                    .await
                    .unwrap();
            }
        }
    });
    NameServer { port, asked }
}

fn answer(request: &Message) -> Option<Message> {
    let query = request.queries.first()?.clone();
    let name = query.name().to_ascii();
    let srv = |priority, weight, port, target: &str| {
        RData::SRV(SRV::new(
            priority,
            weight,
            port,
            Name::from_ascii(target).unwrap(),
        ))
    };
    let data = match (name.as_str(), query.query_type()) {
        ("silent.test.", _) => return None,
        ("one.test.", RecordType::A) => vec![RData::A(A::new(192, 0, 2, 1))],
        ("one.test.", RecordType::AAAA) => {
            vec![RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))]
        }
        ("_matrix-fed._tcp.one.test.", RecordType::SRV) => vec![
            srv(20, 99, 3, "c.test."),
            srv(10, 5, 2, "b.test."),
            srv(10, 50, 1, "a.test."),
        ],
        ("_matrix-fed._tcp.off.test.", RecordType::SRV) => vec![srv(0, 0, 0, ".")],
        _ => vec![],
    };
    let mut message = Message::new(request.metadata.id, MessageType::Response, OpCode::Query);
    if data.is_empty() && !name.starts_with("one.") {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    let records = data
        .into_iter()
        .map(|data| Record::from_rdata(query.name().clone(), 60, data));
    message.answers.extend(records);
    message.add_query(query);
    Some(message)
}

fn dns(port: u16, hosts: &str) -> (SystemDns, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(0));
    let mut connection = ConnectionConfig::udp();
    connection.port = port;
    let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
    let mut static_hosts = Hosts::default();
    static_hosts.read_hosts_conf(hosts.as_bytes()).unwrap();
    let config = ResolverConfig::from_name_servers(vec![server]);
    (
        SystemDns::new(config, ResolverOpts::default(), static_hosts, clock.clone()).unwrap(),
        clock,
    )
}

#[tokio::test]
async fn addresses_come_from_the_hosts_file_and_then_from_name_servers() {
    let server = name_server().await;
    let (dns, _) = dns(server.port, "10.1.2.3 hs1 hs1.test\n::5 hs1\n");
    let addresses = async |host: &str| {
        let found = dns.addresses(host).await;
        found.map(|found| {
            found
                .iter()
                .map(IpAddr::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        })
    };
    assert_eq!(addresses("hs1").await.unwrap(), "::5 10.1.2.3");
    assert_eq!(addresses("HS1.test").await.unwrap(), "10.1.2.3");
    assert_eq!(addresses("localhost").await.unwrap(), "127.0.0.1 ::1");
    assert_eq!(addresses("a.localhost").await.unwrap(), "127.0.0.1 ::1");
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
    assert_eq!(
        addresses("one.test").await.unwrap(),
        "2001:db8::1 192.0.2.1"
    );
    assert_eq!(
        addresses("no.test").await,
        Err(DnsError::NotFound("no.test".to_owned()))
    );
    assert!(addresses(&"x".repeat(300)).await.is_err());
}

#[tokio::test]
async fn services_are_ordered_by_priority_and_weight() {
    let server = name_server().await;
    let (dns, _) = dns(server.port, "");
    let services = dns.services("_matrix-fed._tcp.one.test").await.unwrap();
    let names: Vec<_> = services
        .iter()
        .map(|s| format!("{}:{}", s.host, s.port))
        .collect();
    assert_eq!(names, ["a.test:1", "b.test:2", "c.test:3"]);
    for name in ["_matrix-fed._tcp.off.test", "_matrix-fed._tcp.no.test"] {
        assert_eq!(
            dns.services(name).await,
            Err(DnsError::NotFound(name.to_owned()))
        );
    }
}

#[tokio::test]
async fn silence_is_quickly_given_up_and_briefly_remembered() {
    let server = name_server().await;
    let (dns, clock) = dns(server.port, "");
    let unavailable = Err(DnsError::Unavailable("silent.test".to_owned()));
    #[expect(
        clippy::disallowed_methods,
        reason = "the time limit itself is measured"
    )]
    let began = Instant::now();
    assert_eq!(dns.addresses("silent.test").await, unavailable);
    assert!(began.elapsed() < Duration::from_millis(2_500));
    let asked = server.asked.load(Ordering::SeqCst);
    assert!(asked > 0);
    assert_eq!(dns.addresses("silent.test").await, unavailable);
    assert_eq!(server.asked.load(Ordering::SeqCst), asked);
    clock.advance(NEGATIVE_MS);
    assert_eq!(dns.addresses("silent.test").await, unavailable);
    assert!(server.asked.load(Ordering::SeqCst) > asked);
}

#[tokio::test]
async fn the_system_configuration_can_be_read() {
    let dns = SystemDns::from_system(Arc::new(ManualClock::new(0))).unwrap();
    let addresses = dns.addresses("localhost").await.unwrap();
    assert!(addresses.iter().all(IpAddr::is_loopback));
}
