//! Planted bugs: a simulator whose auditor overlooks one of them proves nothing. Chosen at run time by [`crate::Plan::canary`]; what
//! each does to the world stands in `plant.rs`, outside of the product.

macro_rules! canaries {
    ($($name:ident $faults:literal $what:literal;)*) => {
        /// A bug of one part of the world, planted on purpose.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Canary {
            $(#[doc = $what] $name,)*
        }

        impl Canary {
            /// Each with the faults under which it shows.
            pub const ALL: &'static [(Canary, &'static str)] = &[$((Canary::$name, $faults),)*];

            /// What it does, in words.
            pub fn what(self) -> &'static str {
                match self {
                    $(Canary::$name => $what,)*
                }
            }
        }
    };
}

canaries! {
    // The terminal's disk and what a machine makes of it when it is switched on.
    ForgetfulDisk "terminal-crash,loss" "A terminal's disk calls a record durable and forgets it in a power cut.";
    ForgetsThree "terminal-crash,loss" "A terminal's disk forgets the last three records in a power cut.";
    AmnesiacTill "terminal-crash,loss" "A till that forgets, when it is switched on, what it had sent.";
    ReversalForgotten "terminal-crash,loss" "A till that holds pending reversals for acknowledged after a restart.";
    IntentCancelled "terminal-crash,loss" "A till that declares after a restart that its open intent never left.";
    ForgetsDecisions "terminal-crash,loss" "A till that forgets decisions in a restart.";
    ForgetsTraces "terminal-crash,loss" "A till that forgets in a restart which trace numbers it took.";
    NoticeForgotten "terminal-crash,loss" "A till that drops queued refunds in a restart.";
    RollsBack "terminal-crash,loss" "A till restored from a snapshot five records old.";
    KeepsHalf "terminal-crash,loss" "A till restored from the first half of its journal.";
    ForgetsStagedKeys "terminal-crash" "A PED that forgets staged master keys in a restart.";
    NoPowerOn "terminal-crash,loss" "A till that is not told that it was switched on.";
    // The till, its driver and its line.
    NeverWakes "loss" "A driver that drops a till's wake-ups.";
    LineLiesUnsent "loss,refused" "A link that says nothing was sent whenever it fails.";
    MisreadApproval "none" "A PED that reads one approval in ten as a refusal.";
    MisreadDecline "none" "A PED that reads refusals as approvals.";
    SaleAmountOff "none" "A PED that sends a sale with one cent more.";
    RefundAmountOff "none" "A PED that sends a refund with one cent less.";
    ReversalAmountOff "loss" "A PED that sends a reversal with one cent more.";
    ReversalOfPrevious "loss" "A till that reverses the trace number before the one that it should.";
    ReversalOfOtherBatch "loss" "A till that reverses in the batch before.";
    ReversalNeverLeaves "loss" "A link that drops every reversal.";
    PrintsTwice "none" "A printer that prints first receipts twice.";
    ReceiptAmountOff "none" "A receipt with one cent more.";
    OutcomeLies "none" "A cash register that is told approved where the till said declined.";
    PrintsDeclined "none" "A receipt for the sale after the one it names.";
    HastyPed "none" "A PED that puts a newer master key in the present one's place at once.";
    // Sales without the host, and tips.
    OfflineUnbounded "none" "A till that knows no limits of what it sells without the host.";
    OfflineForgotten "terminal-crash,loss" "A till that forgets in a restart what it sold without the host.";
    OfflineNeverLeaves "none" "A link that drops every upload of an offline sale.";
    OfflineDropped "none" "A PED that reads one upload's approval in ten as a refusal.";
    OfflineRenumbered "loss" "A till that takes a new trace number when it uploads an offline sale again.";
    OfflineNotPosted "none" "An offline sale that is taken and not booked.";
    OfflineDoubled "none" "An offline sale that is booked twice.";
    CertificateTwice "terminal-crash" "A till that uploads online sales as offline ones, and a disk that takes a card's counter twice.";
    TipNotPosted "none" "A tip that is taken and not booked.";
    TipDoubled "none" "A tip that is booked twice.";
    TipMovesSale "none" "A tip that books the whole new total once more.";
    TipOnOtherSale "none" "A tip that is added to the sale before.";
    TipTotalOff "none" "A PED that sends a tip whose total is a cent more.";
    // Payments by QR code, and instalments.
    QrSaleNotPosted "none" "A QR sale that is approved and not booked.";
    QrVoidNotPosted "none" "A QR void that is approved and not booked.";
    QrRefundDoubled "none" "A QR refund that is booked twice.";
    QrPaidAndReversed "none" "A disk on which an order can be paid behind the reversal that closed it.";
    QrCodePaysTwice "none" "A disk on which a buyer's code can pay twice.";
    QrPaidByQuery "none" "A host that books an order again when a query learns that it is paid.";
    QrShownOff "none" "A till that shows an order with a cent more than the buyer's phone.";
    QrAwaitedTakenForPaid "none" "A PED that reads an answer to wait for the buyer as an approval.";
    QrOtherWallet "none" "A QR sale that debits the wallet before.";
    InstalmentNotPosted "none" "A sale in instalments that is approved and not booked.";
    InstalmentVoidTurned "none" "The void of a sale in instalments that books the whole once more.";
    // The host's rows.
    SaleNotPosted "none" "A sale that is approved and not booked.";
    VoidNotPosted "none" "A void that is approved and not booked.";
    RefundNotPosted "none" "A refund that is approved and not booked.";
    ReversalNotPosted "loss" "A reversal that is acknowledged and not booked.";
    ReinstatementNotPosted "loss" "A reversed void whose sale does not stand again.";
    SaleDoubled "none" "A sale that is booked twice.";
    VoidDoubled "none" "A void that is booked twice, past the guard.";
    RefundDoubled "none" "A refund that is booked twice.";
    ReversalDoubled "loss" "A reversal that is booked twice.";
    SaleOneSided "none" "A sale of which one side is booked.";
    ReversalOneSided "loss" "A reversal of which one side is booked.";
    SaleCentOff "none" "A sale that is booked with one cent more.";
    RefundCentOff "none" "A refund that is booked with one cent more.";
    ReversalCentOff "loss" "A reversal that gives back one cent less.";
    SaleTurned "none" "A sale that credits the card.";
    RefundTurned "none" "A refund that debits the card.";
    SaleOnOtherCard "none" "A sale that debits the card before.";
    RefundToOtherCard "none" "A refund that credits the card before.";
    ReversalToOtherCard "loss" "A reversal that credits the card before.";
    VoidToOtherCard "none" "A void that credits the card before.";
    RefundUnbounded "none" "Refunds without the guard that holds them below the sale.";
    VoidUnbounded "none" "Voids without the guard that the sale must stand.";
    CardUnbounded "none" "Sales without the guard of the card's balance.";
    IntentTwice "conflict,duplicate,host-crash" "Decisions that are not kept as unique intents.";
    TombstoneForgotten "loss,late,reorder" "Reversals before their original that leave no tombstone.";
    // The host's store.
    ForgetfulHost "host-crash,loss" "The host's disk forgets each terminal's last record in a power cut, and unique keys are not unique.";
    LostWrites "none" "The host's disk calls every hundredth append durable and drops it.";
    UncheckedBalances "none" "The host's disk does not check balances.";
    UncheckedHolds "none" "The host's disk does not check holds: an authorisation can be ended more than once.";
    StuckHolds "none" "The host's disk drops the end of every tenth hold: money stays held for ever.";
    TakenUnnoticed "conflict,duplicate,host-crash" "The host's disk does not check unique keys.";
    ConflictsUnnoticed "conflict,duplicate,host-crash" "The host's disk does not notice that another host wrote first.";
    HalfTransactions "none" "An append that a guard refused leaves its postings behind.";
    RowsLostAtCut "host-crash" "A power cut takes the postings of the last append and leaves its records.";
    AppendLostAtCut "host-crash" "A power cut takes the last append, although it was called durable.";
    BackupRestored "host-crash" "After a power cut the host's operators restore an old backup.";
    // The host's machine, its issuer and its key service.
    LooseBound "none" "A host that lets completions exceed their bound.";
    HoldsFallEarly "none" "A host that releases what is held before its time is over.";
    IssuerOtherCard "none" "An issuer that names the account of the card before.";
    IssuerWithoutLimit "none" "An issuer that knows no limit of one purchase.";
    PinUnchecked "none" "A key service that finds every PIN right.";
    FindsAnother "none" "A look-up that gives the value of another key.";
}
