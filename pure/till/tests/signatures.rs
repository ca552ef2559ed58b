//! Electronic signatures: what is taken, when it goes to the host, and what becomes of one that the host does not take.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use iso8583::gbk;
use iso8583::unionpay::{parse_signature_elements, signature_tags};
use till::{Operation, OperatorCommand, OutcomeStatus, Pending, Receipt, Screen, SignatureStatus};
use types::{BatchNumber, Stan};
use world::{Fault, World, yuan};

/// 384 by 120 points.
fn image(length: usize) -> Vec<u8> {
    let mut image = vec![0, 0, 1, 0, 0, 0, 1, 0x80, 0, 0, 0, 120, 0, 0, 0, 120, 0, 0, 0, 0x40];
    image.resize(length, 0xA5);
    image
}

fn sign(world: &mut World, stan: Stan, image: Vec<u8>) -> OutcomeStatus {
    world.command(OperatorCommand::Sign { stan, image });
    world.outcome(Operation::Signature).status
}

fn signed_sale(world: &mut World) -> Stan {
    let stan = world.sale("12.50").stan.unwrap();
    assert_eq!(sign(world, stan, image(300)), OutcomeStatus::Done);
    stan
}

fn taken(world: &World, stan: Stan) -> bool {
    world.host.signatures.contains_key(&(BatchNumber::new(7).unwrap(), stan))
}

#[test]
fn a_signature_reaches_the_host_with_what_the_cardholder_saw() {
    let mut world = World::ready();
    let stan = signed_sale(&mut world);
    let request = world.host.signatures[&(BatchNumber::new(7).unwrap(), stan)].clone();
    assert_eq!(request.template.private_60, "07000007800");
    assert_eq!(request.template.private_62, Some(image(300)));
    assert!(request.template.with_mac && request.signed.0 == "0315");
    let elements = parse_signature_elements(&request.signed.1).unwrap();
    let value = |tag| &elements.iter().find(|element| element.tag == tag).unwrap().value[..];
    assert_eq!(value(signature_tags::MERCHANT_NAME), gbk::encode(&world.config.merchant_name).unwrap());
    assert_eq!(gbk::decode(value(signature_tags::TRANSACTION_TYPE)), "消费");
    assert_eq!(value(signature_tags::DATE_TIME), [0x20, 0x26, 0x03, 0x15, 0x09, 0x31, 0x02]);
    assert_eq!((value(signature_tags::ISSUER), value(signature_tags::OPERATOR)), (&b"03080000"[..], &[1][..]));
    assert_eq!(value(signature_tags::CRYPTOGRAM).len(), 8);
    let kept = world.restored().state().management.signatures.clone();
    assert_eq!((kept[0].status, kept[0].image.len()), (SignatureStatus::Uploaded, 0), "the host has the image");
    assert!(world.till.pending().is_empty());
}

#[test]
fn the_watermark_is_made_of_settlement_date_and_reference_number() {
    let mut world = World::ready();
    let stan = world.sale("12.50").stan.unwrap();
    let rrn = world.find(stan).rrn().unwrap().to_string();
    assert!(rrn.starts_with("0930150000"), "{rrn}");
    let tail = u32::from_str_radix(&rrn[4..], 16).unwrap();
    assert_eq!(world.find(stan).feature_code().unwrap(), format!("{:08X}", 0x0315_0930 ^ tail));
    world.faults = [Fault::NotSent].into();
    let lost = world.sale("1.00").stan.unwrap();
    // Batch 000007 and trace number, since no host decided.
    let text = format!("{lost}");
    let right = u32::from_str_radix(&format!("{}0000", &text[2..]), 16).unwrap();
    assert_eq!(world.find(lost).feature_code().unwrap(), format!("{:08X}", 0x0000_0700 ^ right));
}

#[test]
fn what_is_no_signature_is_refused_in_words() {
    let mut world = World::ready();
    let stan = world.sale("12.50").stan.unwrap();
    let png = b"\x89PNG\r\n\x1A\n and the rest of the picture".to_vec();
    for (image, words) in
        [(image(1000), "sign again"), (image(20), "no JBIG image"), (png, "no JBIG image"), (vec![], "JBIG")]
    {
        assert_eq!(sign(&mut world, stan, image), OutcomeStatus::Failed);
        let Some(Screen::Refused { reason }) = world.screens.last() else { panic!("{:?}", world.screens.last()) };
        assert!(reason.en.contains(words), "{}", reason.en);
    }
    assert_eq!(sign(&mut world, Stan::new(999).unwrap(), image(300)), OutcomeStatus::Failed);
    assert_eq!(sign(&mut world, stan, image(999)), OutcomeStatus::Done);
    assert_eq!(sign(&mut world, stan, image(999)), OutcomeStatus::Failed, "once");
    assert_eq!(world.host.signatures.len(), 1);
}

#[test]
fn a_lost_answer_is_asked_for_again_and_94_is_a_success() {
    let mut world = World::ready();
    let stan = world.sale("12.50").stan.unwrap();
    world.faults = [Fault::LoseResponse].into();
    assert_eq!(sign(&mut world, stan, image(300)), OutcomeStatus::Done);
    assert!(taken(&world, stan) && world.till.pending().is_empty());
}

#[test]
fn a_signature_holds_up_no_sale_and_goes_behind_reversals_before_the_next_one() {
    let mut world = World::ready();
    let stan = world.sale("12.50").stan.unwrap();
    world.faults = [Fault::NotSent].into();
    world.queue.push_back(till::Event::Operator(OperatorCommand::Sign { stan, image: image(300) }));
    world.queue.push_back(till::Event::Operator(OperatorCommand::Sale { amount: yuan("1.00") }));
    world.run();
    let sent = world.sent.clone();
    let at = |name: &str| sent.iter().rposition(|sent| sent == name).unwrap();
    assert!(at("0820/07/800") < at("0200/22/000"), "{sent:?}");
    assert!(taken(&world, stan));
    world.assert_agreement();
}

#[test]
fn one_that_the_host_refuses_is_left_to_the_settlement_and_then_to_paper() {
    let mut world = World::ready();
    world.host.signature_code = Some("96");
    let stan = signed_sale(&mut world);
    world.run_for(24 * 3_600_000);
    let tries = world.sent.iter().filter(|sent| *sent == "0820/07/800").count();
    assert_eq!(tries, 9, "three occasions of three sends");
    assert!(!world.till.pending().contains(&Pending::Signature { stan }), "not tried for ever");
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
    world.command(OperatorCommand::Settle);
    assert_eq!((world.last().operation, world.last().status), (Operation::Settlement, OutcomeStatus::Done));
    assert_eq!(world.sent.iter().filter(|sent| *sent == "0820/07/800").count(), 12, "once more at the settlement");
    let slip = world.prints.iter().find(|print| matches!(print, Receipt::SignatureLeft(_))).expect("a slip");
    let text = slip.render(48);
    assert!(text.contains(&stan.to_string()) && text.contains("must be signed"), "{text}");
    assert!(world.restored().state().management.signatures.is_empty());
    world.assert_agreement();
}

#[test]
fn one_that_was_refused_reaches_the_host_at_the_settlement() {
    let mut world = World::ready();
    world.host.signature_code = Some("96");
    let stan = signed_sale(&mut world);
    world.run_for(24 * 3_600_000);
    world.host.signature_code = None;
    world.command(OperatorCommand::Settle);
    assert!(taken(&world, stan));
    assert!(!world.prints.iter().any(|print| matches!(print, Receipt::SignatureLeft(_))));
}

#[test]
fn no_power_cut_loses_a_signature_or_takes_it_twice() {
    for records in 1..14 {
        for released in [false, true] {
            let mut world = World::ready();
            let stan = world.sale("12.50").stan.unwrap();
            world.crash_at = Some((world.journal.len() + records, released));
            world.command(OperatorCommand::Sign { stan, image: image(300) });
            world.command(OperatorCommand::Settle);
            world.run_for(600_000);
            if world.till.status().batch == BatchNumber::new(7).unwrap() {
                // The cut took the cashier's command with it.
                world.command(OperatorCommand::Settle);
            }
            let left = world.prints.iter().any(|print| matches!(print, Receipt::SignatureLeft(_)));
            // A cut before it was written down lost it on the screen: the cashier was never told that it is kept.
            let kept =
                world.outcomes.iter().any(|o| o.operation == Operation::Signature && o.status == OutcomeStatus::Done);
            assert!(taken(&world, stan) || left || !kept, "{records} {released}");
            let closed = (world.till.status().batch, world.host.batch);
            let next = BatchNumber::new(8).unwrap();
            assert_eq!(closed, (next, next), "{records} {released}");
            world.assert_agreement();
        }
    }
}
