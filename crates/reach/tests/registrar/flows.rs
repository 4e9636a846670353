//! Flows, instances and paths (RFC 5626 §6, RFC 3327).

use duolog_reach::registrar::{Outcome, Why};
use duolog_sip::Transport;

use crate::world::{Phone, World, flow, s, udp, values};

const ONE: &str = "<sip:a@10.0.0.1>;+sip.instance=\"<urn:uuid:1>\"";

fn add(phone: &mut Phone, fields: &[(&'static str, &str)]) {
    for (name, value) in fields {
        phone.fields.push((name, (*value).to_owned()));
    }
}

#[test]
fn a_phone_behind_a_nat_is_called_over_the_flow_it_came_by() {
    let mut world = World::new();
    let mut phone = Phone::alice("203.0.113.7:40001");
    phone.bind(&mut world, &["<sip:a@10.0.0.1:5060>"]);
    assert_eq!(
        world.places("alice"),
        ["sip:a@10.0.0.1:5060 UDP 203.0.113.7:40001 1000"]
    );
    // The NAT gives it another port: the refresh moves it.
    phone.flow = udp("203.0.113.7:40002");
    phone.bind(&mut world, &["<sip:a@10.0.0.1:5060>"]);
    assert_eq!(
        world.places("alice"),
        ["sip:a@10.0.0.1:5060 UDP 203.0.113.7:40002 1000"]
    );
    assert_eq!(
        world
            .registrar
            .user_on(world.now, &udp("203.0.113.7:40001")),
        None
    );
    assert_eq!(
        world
            .registrar
            .user_on(world.now, &udp("203.0.113.7:40002")),
        Some("alice")
    );
}

#[test]
fn a_phone_that_listens_elsewhere_is_called_there_but_never_another_host() {
    for (via, contact, peer) in [
        (
            "SIP/2.0/UDP p;branch=z9hG4bK1",
            "<sip:a@192.0.2.1>",
            "192.0.2.1:5060",
        ),
        (
            "SIP/2.0/UDP p;branch=z9hG4bK1",
            "<sip:a@192.0.2.1:5070>",
            "192.0.2.1:5070",
        ),
        (
            "SIP/2.0/UDP p;branch=z9hG4bK1;rport=5",
            "<sip:a@192.0.2.1>",
            "192.0.2.1:50123",
        ),
        (
            "SIP/2.0/UDP p;branch=z9hG4bK1",
            "<sip:a@198.51.100.1>",
            "192.0.2.1:50123",
        ),
        (
            "SIP/2.0/UDP p;branch=z9hG4bK1",
            "<sip:a@victim.example>",
            "192.0.2.1:50123",
        ),
    ] {
        let mut world = World::new();
        let mut phone = Phone::alice("192.0.2.1:50123");
        let mut request = phone.plain(&[contact]);
        request.headers.set("Via", via);
        let asked = world.register(&phone.flow, &request);
        let again = phone.answer(&request, &asked.response).unwrap();
        world.register(&phone.flow, &again);
        let binding = &world.registrar.bindings(world.now, "alice")[0];
        assert_eq!(binding.flow.peer.to_string(), peer, "{via} {contact}");
    }
}

#[test]
fn a_dead_connection_ends_its_bindings() {
    let mut world = World::new();
    let tls = flow(Transport::Tls, "192.0.2.1:40000");
    let mut phone = Phone::new("alice", "secret a", tls);
    phone.bind(&mut world, &["<sip:a@h;transport=tls>"]);
    let mut second = Phone::alice("192.0.2.1:40000");
    second.bind(&mut world, &["<sip:b@h>"]);
    assert_eq!(world.registrar.user_on(world.now, &tls), Some("alice"));
    world.registrar.flow_failed(&tls);
    assert_eq!(world.places("alice"), ["sip:b@h UDP 192.0.2.1:40000 1000"]);
    assert_eq!(world.registrar.user_on(world.now, &tls), None);
    // Over UDP a report of failure may be forged, or true for a moment.
    world.registrar.flow_failed(&second.flow);
    assert_eq!(world.registrar.bound(), 1);
}

#[test]
fn a_flow_speaks_for_one_user_or_names_them_all() {
    let mut world = World::new();
    let mut alice = Phone::alice("192.0.2.1:5060");
    let mut bob = Phone::new("bob", "secret b", alice.flow);
    alice.bind(&mut world, &["<sip:a@h>;expires=100"]);
    bob.register(&mut world, &["<sip:b@h>"]);
    let on = |world: &World| -> Vec<String> {
        let users = world.registrar.users_on(world.now, &alice.flow);
        users.map(str::to_owned).collect()
    };
    assert_eq!(on(&world), ["alice", "bob"]);
    assert_eq!(world.registrar.user_on(world.now, &alice.flow), None);
    world.now += s(100);
    assert_eq!(on(&world), ["bob"]);
    assert_eq!(world.registrar.user_on(world.now, &alice.flow), Some("bob"));
}

#[test]
fn an_instance_replaces_what_it_left() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    phone.bind(&mut world, &[ONE]);
    // Started again: another port, another Contact, another Call-ID.
    let mut again = Phone::alice("192.0.2.1:6000");
    let moved = ONE.replace("10.0.0.1", "10.0.0.2");
    let response = again.bind(&mut world, &[&moved]);
    let want = "<sip:a@10.0.0.2>;expires=3600;+sip.instance=\"<urn:uuid:1>\"";
    assert_eq!(values(&response, "Contact"), [want]);
    assert!(values(&response, "Require").is_empty());
    assert_eq!(
        world.places("alice"),
        ["sip:a@10.0.0.2 UDP 192.0.2.1:6000 1000"]
    );
    // Two Contacts of one REGISTER stand side by side.
    let other = "<sip:a@10.0.0.2;transport=tcp>;+sip.instance=\"<urn:uuid:1>\"";
    again.bind(&mut world, &[&moved, other]);
    assert_eq!(world.registrar.bound(), 2);
}

#[test]
fn outbound_keeps_one_binding_for_each_flow() {
    let mut world = World::new();
    let contact = |reg_id: u8| format!("{ONE};reg-id={reg_id}");
    let mut phones: Vec<Phone> = ["192.0.2.1:5001", "192.0.2.1:5002"]
        .into_iter()
        .map(|peer| Phone::new("alice", "secret a", flow(Transport::Tcp, peer)))
        .collect();
    for (n, phone) in phones.iter_mut().enumerate() {
        add(phone, &[("Supported", "path, outbound")]);
        let response = phone.bind(&mut world, &[&contact(n as u8 + 1)]);
        assert_eq!(values(&response, "Require"), ["outbound"]);
        assert_eq!(values(&response, "Contact").len(), n + 1);
    }
    // One phone is one target: its newest flow, and the other one when that is gone.
    assert_eq!(
        world.places("alice"),
        ["sip:a@10.0.0.1 TCP 192.0.2.1:5002 1000"]
    );
    world.registrar.flow_failed(&phones[1].flow);
    assert_eq!(
        world.places("alice"),
        ["sip:a@10.0.0.1 TCP 192.0.2.1:5001 1000"]
    );
    let mut again = Phone::new("alice", "secret a", flow(Transport::Tcp, "192.0.2.1:5003"));
    add(&mut again, &[("Supported", "outbound")]);
    again.bind(&mut world, &[&contact(1)]);
    assert_eq!(
        world.places("alice"),
        ["sip:a@10.0.0.1 TCP 192.0.2.1:5003 1000"]
    );
    let two = again.register(&mut world, &[&contact(1), &contact(2)]);
    assert_eq!(two.outcome, Outcome::Refused(Why::Malformed));
    let alone = "<sip:z@h>;reg-id=1";
    let response = again.bind(&mut world, &[alone]);
    assert!(values(&response, "Require").is_empty());
}

#[test]
fn outbound_over_a_proxy_needs_its_help() {
    let contact = format!("{ONE};reg-id=1");
    for (supported, path, status, require) in [
        ("path, outbound", "<sip:edge;lr;ob>", 200, true),
        ("path, outbound", "<sip:edge;lr>", 439, false),
        ("path", "<sip:edge;lr>", 200, false),
    ] {
        let mut world = World::new();
        let mut phone = Phone::alice("192.0.2.1:5060");
        let via = "SIP/2.0/UDP edge;branch=z9hG4bK2";
        add(
            &mut phone,
            &[("Via", via), ("Supported", supported), ("Path", path)],
        );
        let registered = phone.register(&mut world, &[&contact]);
        let response = &registered.response;
        assert_eq!(response.status.code(), status, "{supported} {path}");
        assert_eq!(values(response, "Require") == ["outbound"], require);
        if status == 200 {
            assert_eq!(values(response, "Path"), [path]);
            // The flow is the proxy's: it says nothing of who speaks.
            assert_eq!(world.registrar.user_on(world.now, &phone.flow), None);
        }
    }
}

#[test]
fn a_path_is_kept_and_given_back() {
    let mut world = World::new();
    let mut phone = Phone::alice("192.0.2.1:5060");
    add(
        &mut phone,
        &[
            ("Path", "<sip:p1;lr>, \"a, b\" <sip:p2;lr>"),
            ("Path", "<sip:p3;lr>"),
        ],
    );
    let response = phone.bind(&mut world, &["<sip:a@h>"]);
    let want = ["<sip:p1;lr>", "\"a, b\" <sip:p2;lr>", "<sip:p3;lr>"];
    assert_eq!(values(&response, "Path"), want);
    let want = "sip:a@h UDP 192.0.2.1:5060 1000 via sip:p1;lr via sip:p2;lr via sip:p3;lr";
    assert_eq!(world.places("alice"), [want]);
    for bad in [
        "<sip:p1".to_owned(),
        format!("<sip:{};lr>", "p".repeat(3000)),
    ] {
        phone.fields = vec![("Path", bad)];
        let registered = phone.register(&mut world, &["<sip:a@h>"]);
        assert_eq!(registered.outcome, Outcome::Refused(Why::Malformed));
    }
}
