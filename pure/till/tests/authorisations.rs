//! Pre-authorisations at the till: what is sent, what a lost answer means, what the slip says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod world;

use till::{
    AuthorisationReference, CompletionForm, Config, Operation, OperatorCommand, OutcomeStatus, TransactionOutcome,
    TransactionStatus,
};
use types::{AuthorisationCode, CardToken, LocalDate};
use world::ped::code;
use world::{Fault, World, config, yuan};

fn authorise(world: &mut World, amount: &str) -> (TransactionOutcome, AuthorisationReference) {
    world.command(OperatorCommand::PreAuthorise { amount: yuan(amount) });
    let outcome = world.outcome(Operation::PreAuthorisation).clone();
    assert_eq!(outcome.status, OutcomeStatus::Approved, "{outcome:?}");
    let authorisation = reference(outcome.authorisation_code.unwrap());
    (outcome, authorisation)
}

fn reference(code: AuthorisationCode) -> AuthorisationReference {
    AuthorisationReference { code, date: LocalDate::new(2026, 3, 15).unwrap() }
}

fn void(world: &mut World, amount: &str, authorisation: &AuthorisationReference) -> OutcomeStatus {
    let authorisation = authorisation.clone();
    world.command(OperatorCommand::VoidPreAuthorisation { amount: yuan(amount), authorisation });
    world.outcome(Operation::PreAuthorisationVoid).status
}

fn complete(world: &mut World, amount: &str, authorisation: &AuthorisationReference, form: CompletionForm) {
    let authorisation = authorisation.clone();
    world.command(OperatorCommand::Complete { amount: yuan(amount), authorisation, form });
}

#[test]
fn a_pre_authorisation_holds_money_and_prints_a_slip() {
    let mut world = World::ready();
    let (outcome, _) = authorise(&mut world, "100.00");
    assert_eq!((world.host.held_minor(), world.host.net_minor()), (10_000, 0));
    assert_eq!(world.sent.last().unwrap(), "0100/10/000");
    let sent = world.find(outcome.stan.unwrap());
    assert_eq!(sent.template.processing_code.as_deref(), Some("030000"));
    assert_eq!((sent.template.condition_code.as_deref(), sent.template.original_61.as_ref()), (Some("06"), None));
    let slip = world.prints[0].render(48);
    assert!(slip.contains("预授权(AUTH)") && slip.contains("RMB 100.00"), "{slip}");
    assert!(slip.contains(outcome.authorisation_code.unwrap().text()) && slip.contains("TC: "), "{slip}");
    world.assert_agreement();
}

#[test]
fn a_void_sets_it_free_and_says_which() {
    let mut world = World::ready();
    let (outcome, authorisation) = authorise(&mut world, "100.00");
    assert_eq!(void(&mut world, "100.00", &authorisation), OutcomeStatus::Approved);
    assert_eq!(world.host.held_minor(), 0);
    let ended = world.find(outcome.stan.unwrap()).voided_by;
    assert_eq!(ended, world.outcome(Operation::PreAuthorisationVoid).stan);
    let slip = world.prints.last().unwrap().render(48);
    assert!(slip.contains("预授权撤销(CANCEL)") && slip.contains("RMB -100.00"), "{slip}");
    assert!(slip.contains(&format!("原授权码 ORIGINAL AUTH NO: {}", authorisation.code)), "{slip}");
    assert_eq!(void(&mut world, "100.00", &authorisation), OutcomeStatus::Declined);
    assert_eq!(world.last().response_code, Some(code("12")));
    world.assert_agreement();
}

#[test]
fn a_completion_takes_the_money_as_request_or_as_notice() {
    for (form, operation, title) in [
        (CompletionForm::Request, Operation::Completion, "预授权完成(请求)(AUTH COMPLETE)"),
        (CompletionForm::Notice, Operation::CompletionNotice, "预授权完成(通知)(AUTH SETTLEMENT)"),
    ] {
        let mut world = World::ready();
        let (_, authorisation) = authorise(&mut world, "100.00");
        complete(&mut world, "115.00", &authorisation, form);
        assert_eq!(world.outcome(operation).status, OutcomeStatus::Approved, "{form:?}");
        assert_eq!((world.host.held_minor(), world.host.net_minor()), (0, 11_500));
        let slip = world.prints.last().unwrap().render(48);
        assert!(slip.contains(title) && slip.contains("原授权码"), "{slip}");
        complete(&mut world, "1.00", &authorisation, form);
        assert_eq!(world.last().response_code, Some(code("12")), "one completion");
        world.assert_agreement();
    }
}

#[test]
fn the_hosts_word_on_bound_and_code_is_shown() {
    let mut world = World::ready();
    let (_, authorisation) = authorise(&mut world, "100.00");
    complete(&mut world, "115.01", &authorisation, CompletionForm::Request);
    assert_eq!(world.last().response_code, Some(code("64")));
    let unknown = reference(AuthorisationCode::parse("ZZZZZZ").unwrap());
    complete(&mut world, "1.00", &unknown, CompletionForm::Notice);
    assert_eq!((world.last().status, world.last().response_code), (OutcomeStatus::Declined, Some(code("25"))));
    assert_eq!((world.host.held_minor(), world.host.net_minor()), (10_000, 0));
    world.assert_agreement();
}

#[test]
fn a_lost_answer_is_reversed_and_the_hold_is_as_before() {
    for fault in [Fault::LoseRequest, Fault::LoseResponse, Fault::Silent, Fault::Late, Fault::WrongMac] {
        let mut world = World::ready();
        world.faults = [fault].into();
        world.command(OperatorCommand::PreAuthorise { amount: yuan("50.00") });
        assert_eq!(world.outcome(Operation::PreAuthorisation).status, OutcomeStatus::Reversing, "{fault:?}");
        assert_eq!((world.outcome(Operation::Reversal).status, world.host.held_minor()), (OutcomeStatus::Reversed, 0));
        let (_, authorisation) = authorise(&mut world, "100.00");
        world.faults = [fault].into();
        assert_eq!(void(&mut world, "100.00", &authorisation), OutcomeStatus::Reversing, "{fault:?}");
        assert_eq!(world.host.held_minor(), 10_000, "{fault:?}");
        world.faults = [fault].into();
        complete(&mut world, "90.00", &authorisation, CompletionForm::Request);
        assert_eq!(world.outcome(Operation::Completion).status, OutcomeStatus::Reversing, "{fault:?}");
        assert_eq!((world.host.held_minor(), world.host.net_minor()), (10_000, 0), "{fault:?}");
        complete(&mut world, "90.00", &authorisation, CompletionForm::Request);
        let stan = world.outcome(Operation::Completion).stan.unwrap();
        world.faults = [fault].into();
        world.command(OperatorCommand::VoidCompletion { stan });
        assert_eq!(world.host.net_minor(), 9_000, "{fault:?}: the completion stands");
        world.command(OperatorCommand::VoidCompletion { stan });
        assert_eq!(world.outcome(Operation::CompletionVoid).status, OutcomeStatus::Approved, "{fault:?}");
        assert_eq!((world.host.held_minor(), world.host.net_minor()), (0, 0));
        world.assert_agreement();
    }
}

#[test]
fn a_card_that_declines_after_the_hold_takes_it_back_with_its_own_data() {
    let mut world = World::ready();
    world.ped.card.agrees = false;
    world.command(OperatorCommand::PreAuthorise { amount: yuan("50.00") });
    let outcome = world.outcome(Operation::PreAuthorisation).clone();
    assert_eq!(outcome.status, OutcomeStatus::Reversing);
    assert_eq!(world.find(outcome.stan.unwrap()).reversal_reason, Some(code("06")));
    assert_eq!(world.host.held_minor(), 0);
    world.assert_agreement();
}

#[test]
fn a_notice_without_an_answer_is_sent_again_and_never_reversed() {
    let mut world = World::ready();
    let (_, authorisation) = authorise(&mut world, "100.00");
    world.faults = [Fault::LoseResponse, Fault::LoseRequest].into();
    complete(&mut world, "90.00", &authorisation, CompletionForm::Notice);
    let of_notice = world.outcomes.iter().filter(|outcome| outcome.operation == Operation::CompletionNotice);
    let statuses: Vec<OutcomeStatus> = of_notice.map(|outcome| outcome.status).collect();
    assert_eq!(statuses, [OutcomeStatus::Queued, OutcomeStatus::Approved]);
    assert!(!world.sent.iter().any(|sent| sent.starts_with("0400")));
    assert_eq!(world.host.net_minor(), 9_000);
    world.assert_agreement();
}

#[test]
fn the_wrong_card_is_noticed_here_where_the_authorisation_is_known() {
    let mut world = World::ready();
    let (_, authorisation) = authorise(&mut world, "100.00");
    world.ped.card.token = CardToken([8; 16]);
    let sent = world.sent.len();
    complete(&mut world, "90.00", &authorisation, CompletionForm::Request);
    assert_eq!(world.last().message.en, "This is not the card of the original sale");
    assert_eq!((world.sent.len(), world.host.held_minor()), (sent, 10_000));
}

#[test]
fn without_the_card_the_sealed_account_data_serves_within_the_batch() {
    let mut world = World::new(Config { completion_needs_card: false, ..config() });
    let (_, first) = authorise(&mut world, "100.00");
    let (_, second) = authorise(&mut world, "30.00");
    world.ped.no_card = true;
    complete(&mut world, "90.00", &first, CompletionForm::Request);
    assert_eq!(world.last().status, OutcomeStatus::Approved);
    assert_eq!(void(&mut world, "30.00", &second), OutcomeStatus::Approved);
    assert_eq!((world.host.held_minor(), world.host.net_minor()), (0, 9_000));
}

#[test]
fn it_is_completed_in_a_later_batch_and_settles_there() {
    let mut world = World::ready();
    let (_, authorisation) = authorise(&mut world, "100.00");
    world.command(OperatorCommand::Settle);
    assert_eq!(world.outcome(Operation::Settlement).status, OutcomeStatus::Done);
    let report = world.till.state().last_settlement.clone().unwrap();
    assert!(report.answer.balanced() && report.totals.domestic.debit_count == 0, "a hold is not counted");
    assert_eq!(world.host.uploads.len(), 1, "but its certificate is uploaded");
    complete(&mut world, "110.00", &authorisation, CompletionForm::Request);
    let completion = world.outcome(Operation::Completion).stan.unwrap();
    authorise(&mut world, "5.00");
    let (_, other) = authorise(&mut world, "20.00");
    complete(&mut world, "20.00", &other, CompletionForm::Notice);
    world.command(OperatorCommand::VoidCompletion { stan: completion });
    assert_eq!(world.outcome(Operation::CompletionVoid).status, OutcomeStatus::Approved);
    world.host.disagrees = true;
    world.command(OperatorCommand::Settle);
    let report = world.till.state().last_settlement.clone().unwrap();
    let totals = report.totals.domestic;
    assert_eq!((totals.debit_minor, totals.debit_count), (13_000, 2));
    assert_eq!((totals.credit_minor, totals.credit_count), (11_000, 1));
    let uploads: Vec<String> = world.host.uploads[1..].iter().map(world::host::Request::name).collect();
    assert_eq!(uploads, ["0320/24/000", "0320/00/205", "0320/00/205"], "the notice first, then the certificates");
    world.host.disagrees = false;
    assert_eq!(world.sale("1.00").status, OutcomeStatus::Approved);
    world.assert_agreement();
}

#[test]
fn only_a_completion_request_of_this_batch_is_voided() {
    let mut world = World::ready();
    let sale = world.sale("1.00").stan.unwrap();
    let (held, authorisation) = authorise(&mut world, "100.00");
    complete(&mut world, "90.00", &authorisation, CompletionForm::Notice);
    let notice = world.outcome(Operation::CompletionNotice).stan.unwrap();
    for stan in [sale, held.stan.unwrap(), notice] {
        world.command(OperatorCommand::VoidCompletion { stan });
        assert_eq!(world.last().message.en, "Only an approved completion can be voided");
    }
    world.command(OperatorCommand::Void { stan: notice });
    assert_eq!(world.last().message.en, "Only an approved sale can be voided");
    assert_eq!(world.find(notice).status, TransactionStatus::Approved);
}

#[test]
fn the_same_hold_twice_in_a_moment_is_questioned() {
    let mut world = World::new(Config { duplicate_window_ms: 300_000, ..config() });
    world.auto_confirm = false;
    authorise(&mut world, "100.00");
    world.command(OperatorCommand::PreAuthorise { amount: yuan("100.00") });
    assert_eq!(world.last().status, OutcomeStatus::Cancelled, "nobody confirmed");
    assert_eq!(world.host.held_minor(), 10_000);
}
