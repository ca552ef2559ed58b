//! Many askers' questions in one batch.

/// Collects questions until the answering side is free. `W` says who asks, for example an address and a ticket.
pub struct Gather<W, Q> {
    questions: Vec<Q>,
    shares: Vec<Share<W>>,
}

struct Share<W> {
    asker: W,
    count: usize,
}

/// A batch on its way; it knows whose each question was.
pub struct Gathered<W, Q> {
    /// The questions in order. The answering side may take them out.
    pub questions: Vec<Q>,
    shares: Vec<Share<W>>,
}

impl<W, Q> Default for Gather<W, Q> {
    fn default() -> Self {
        Self { questions: Vec::new(), shares: Vec::new() }
    }
}

impl<W, Q> Gather<W, Q> {
    /// Adds questions of one asker that belong together.
    pub fn push(&mut self, asker: W, questions: Vec<Q>) {
        self.shares.push(Share { asker, count: questions.len() });
        self.questions.extend(questions);
    }

    /// Whether nobody asks anything.
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Takes whole pushes, in order, as long as they fit into `limit` questions; at least one if there is one.
    pub fn take(&mut self, limit: usize) -> Option<Gathered<W, Q>> {
        let mut total = 0;
        let fits = |share: &&Share<W>| {
            total += share.count;
            total <= limit
        };
        let shares = self.shares.iter().take_while(fits).count().max(1);
        if self.shares.is_empty() {
            return None;
        }
        let rest = self.shares.split_off(shares);
        let shares = std::mem::replace(&mut self.shares, rest);
        let count = shares.iter().map(|share| share.count).sum();
        let rest = self.questions.split_off(count);
        Some(Gathered { questions: std::mem::replace(&mut self.questions, rest), shares })
    }
}

impl<W, Q> Gathered<W, Q> {
    /// How many answers belong to it, whether or not the questions were taken out.
    pub fn answers_expected(&self) -> usize {
        self.shares.iter().map(|share| share.count).sum()
    }

    /// Gives the answers, which are in the order of the questions, back to who asked. If there are not as many as were
    /// asked for, nobody gets any: a mixed-up answer would be worse than none, and `None` says so.
    pub fn split<A>(self, answers: Vec<A>) -> Option<Vec<(W, Vec<A>)>> {
        if answers.len() != self.answers_expected() {
            return None;
        }
        let mut answers = answers.into_iter();
        let give = |share: Share<W>| (share.asker, answers.by_ref().take(share.count).collect());
        Some(self.shares.into_iter().map(give).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_find_their_askers() {
        let mut gather = Gather::default();
        gather.push(("a", 1), vec!["a1", "a2"]);
        gather.push(("b", 7), vec![]);
        gather.push(("a", 2), vec!["a3"]);
        let gathered = gather.take(100).unwrap();
        assert_eq!(gathered.questions, ["a1", "a2", "a3"]);
        let answers = gathered.split(vec![1, 2, 3]).unwrap();
        assert_eq!(answers, [(("a", 1), vec![1, 2]), (("b", 7), vec![]), (("a", 2), vec![3])]);
        assert!(gather.is_empty() && gather.take(1).is_none());
    }

    #[test]
    fn what_belongs_together_is_never_split() {
        let mut gather = Gather::default();
        gather.push(("a", 1), vec![1, 2, 3]);
        gather.push(("b", 2), vec![4, 5]);
        gather.push(("c", 3), vec![6]);
        assert_eq!(gather.take(2).unwrap().questions, [1, 2, 3], "one that is too large goes alone");
        assert_eq!(gather.take(2).unwrap().questions, [4, 5]);
        assert_eq!(gather.take(2).unwrap().questions, [6]);
    }

    #[test]
    fn a_wrong_number_of_answers_gives_none_to_anybody() {
        let mut gather = Gather::default();
        gather.push(("a", 1), vec![1, 2]);
        assert!(gather.take(9).unwrap().split(vec!['x']).is_none());
    }
}
