//! A condition: parsed by the published parser, checked here, word by word, against what a rule may use.

use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};
use cel::parser::Parser;
use risk::{
    Comparison, Entry, FLAG_FACTS, NUMBER_FACTS, Number, Operator, Scope, TEXT_FACTS, TextFact, Truth, Velocity,
    VelocityMeasure, WINDOW_MINUTES_MAX,
};

/// Longest condition in bytes.
const CONDITION_BYTES_MAX: usize = 4096;
/// How deep a condition may be nested.
const DEPTH_MAX: u16 = 64;

const FUNCTIONS: &str = "count, declined, total, cards (scope, kind, minutes), between (scope, kind, minutes, low, high), repeats (minutes)";

/// What is wrong, and at which character.
pub(crate) struct Fault {
    pub offset: usize,
    pub what: String,
}

/// Reads a condition. `kinds` are the acquirer's words for what a transaction is.
pub(crate) fn read(source: &str, kinds: &[&str]) -> Result<Truth, Fault> {
    if source.len() > CONDITION_BYTES_MAX {
        return Err(Fault { offset: 0, what: format!("a condition has at most {CONDITION_BYTES_MAX} bytes") });
    }
    let parsed = Parser::new().max_recursion_depth(DEPTH_MAX).parse_with_source_info(source);
    let (expression, info) = parsed.map_err(|errors| syntax_fault(source, &errors))?;
    let checker = Checker { kinds };
    checker.truth(&expression).map_err(|(id, what)| {
        let offset = info.offset_for(id).map_or(0, |(start, _)| start as usize);
        Fault { offset, what }
    })
}

fn syntax_fault(source: &str, errors: &cel::ParseErrors) -> Fault {
    let Some(first) = errors.errors.first() else {
        return Fault { offset: 0, what: "not a condition".to_owned() };
    };
    let (line, column) = (first.pos.0.max(1).unsigned_abs(), first.pos.1.max(1).unsigned_abs());
    let before: usize = source.split_inclusive('\n').take(line - 1).map(|line| line.chars().count()).sum();
    Fault { offset: before + column - 1, what: first.msg.clone() }
}

/// Node and complaint.
type Complaint = (u64, String);

/// What a part of a condition is.
enum Typed {
    Truth(Truth),
    Number(Number),
    Text(TextFact),
    TextConstant(String),
}

impl Typed {
    fn name(&self) -> &'static str {
        match self {
            Typed::Truth(_) => "true or false",
            Typed::Number(_) => "a number",
            Typed::Text(_) | Typed::TextConstant(_) => "a text",
        }
    }
}

struct Checker<'a> {
    kinds: &'a [&'a str],
}

fn complain<T>(node: &IdedExpr, what: impl Into<String>) -> Result<T, Complaint> {
    Err((node.id, what.into()))
}

fn wanted<T>(node: &IdedExpr, want: &str, got: &Typed) -> Result<T, Complaint> {
    complain(node, format!("expected {want}, found {}", got.name()))
}

impl Checker<'_> {
    fn truth(&self, node: &IdedExpr) -> Result<Truth, Complaint> {
        match self.typed(node)? {
            Typed::Truth(truth) => Ok(truth),
            other => wanted(node, "true or false", &other),
        }
    }

    fn number(&self, node: &IdedExpr) -> Result<Number, Complaint> {
        match self.typed(node)? {
            Typed::Number(number) => Ok(number),
            other => wanted(node, "a number", &other),
        }
    }

    fn typed(&self, node: &IdedExpr) -> Result<Typed, Complaint> {
        match &node.expr {
            Expr::Literal(literal) => literal_value(node, literal),
            Expr::Ident(name) => fact(node, name),
            Expr::Call(call) => self.call(node, call),
            Expr::List(_) => complain(node, "a list may only stand behind `in`"),
            Expr::Comprehension(_) => complain(node, format!("no loops: use {FUNCTIONS}")),
            Expr::Select(select) => complain(node, format!("no fields: there is no .{}", select.field)),
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => complain(node, "not of use in a rule"),
        }
    }

    fn call(&self, node: &IdedExpr, call: &CallExpr) -> Result<Typed, Complaint> {
        let both = |build: fn(Box<Truth>, Box<Truth>) -> Truth| {
            let [left, right] = arguments(node, call)?;
            Ok(Typed::Truth(build(Box::new(self.truth(left)?), Box::new(self.truth(right)?))))
        };
        match call.func_name.as_str() {
            op::LOGICAL_AND => both(Truth::And),
            op::LOGICAL_OR => both(Truth::Or),
            op::LOGICAL_NOT => {
                let [inner] = arguments(node, call)?;
                Ok(Typed::Truth(Truth::Not(Box::new(self.truth(inner)?))))
            }
            op::NEGATE => {
                let [inner] = arguments(node, call)?;
                Ok(arithmetic(Operator::Subtract, Number::Constant(0), self.number(inner)?))
            }
            op::EQUALS => self.equal(node, call),
            op::NOT_EQUALS => match self.equal(node, call)? {
                Typed::Truth(truth) => Ok(Typed::Truth(Truth::Not(Box::new(truth)))),
                other => Ok(other),
            },
            op::IN => self.one_of(node, call),
            "startsWith" => self.starts_with(node, call),
            name => match (comparison(name), operator(name)) {
                (Some(comparison), _) => {
                    let [left, right] = arguments(node, call)?;
                    Ok(Typed::Truth(Truth::Compare(comparison, self.number(left)?, self.number(right)?)))
                }
                (_, Some(operator)) => {
                    let [left, right] = arguments(node, call)?;
                    Ok(arithmetic(operator, self.number(left)?, self.number(right)?))
                }
                _ => self.velocity(node, call),
            },
        }
    }

    /// Numbers, truths, or a text fact with a constant, on either side.
    fn equal(&self, node: &IdedExpr, call: &CallExpr) -> Result<Typed, Complaint> {
        let [left, right] = arguments(node, call)?;
        let truth = match (self.typed(left)?, self.typed(right)?) {
            (Typed::Number(left), Typed::Number(right)) => Truth::Compare(Comparison::Equal, left, right),
            (Typed::Truth(left), Typed::Truth(right)) => Truth::Same(Box::new(left), Box::new(right)),
            (Typed::Text(fact), Typed::TextConstant(text)) => Truth::TextIn(fact, vec![self.word(right, fact, text)?]),
            (Typed::TextConstant(text), Typed::Text(fact)) => Truth::TextIn(fact, vec![self.word(left, fact, text)?]),
            (Typed::Text(_) | Typed::TextConstant(_), Typed::Text(_) | Typed::TextConstant(_)) => {
                return complain(node, "a text is compared with a fact on one side and a constant on the other");
            }
            (left, other) => return wanted(right, left.name(), &other),
        };
        Ok(Typed::Truth(truth))
    }

    fn one_of(&self, node: &IdedExpr, call: &CallExpr) -> Result<Typed, Complaint> {
        let [left, right] = arguments(node, call)?;
        let Expr::List(list) = &right.expr else { return complain(right, "`in` wants a list: [\"a\", \"b\"]") };
        let truth = match self.typed(left)? {
            Typed::Text(fact) => {
                let word = |element| self.word(element, fact, text_constant(element)?);
                Truth::TextIn(fact, list.elements.iter().map(word).collect::<Result<_, _>>()?)
            }
            Typed::Number(number) => {
                Truth::NumberIn(number, list.elements.iter().map(number_constant).collect::<Result<_, _>>()?)
            }
            other => return wanted(left, "a number or a text fact", &other),
        };
        Ok(Typed::Truth(truth))
    }

    fn starts_with(&self, node: &IdedExpr, call: &CallExpr) -> Result<Typed, Complaint> {
        let (Some(target), [prefix]) = (&call.target, &call.args[..]) else {
            return complain(node, "expected fact.startsWith(\"text\")");
        };
        match self.typed(target)? {
            Typed::Text(fact) => Ok(Typed::Truth(Truth::TextBegins(fact, text_constant(prefix)?))),
            other => wanted(target, "a text fact", &other),
        }
    }

    /// A look back.
    fn velocity(&self, node: &IdedExpr, call: &CallExpr) -> Result<Typed, Complaint> {
        let name = call.func_name.as_str();
        if call.target.is_some() {
            return complain(node, format!("no such function on a value: {name}"));
        }
        let args: Vec<&IdedExpr> = call.args.iter().collect();
        let (measure, scope, kind, minutes) = match (name, &args[..]) {
            ("repeats", [minutes]) => {
                return Ok(look_back(VelocityMeasure::Repeats, Scope::Terminal, None, window(minutes)?));
            }
            ("between", [scope, kind, minutes, low, high]) => {
                (VelocityMeasure::Between(self.number(low)?, self.number(high)?), scope, kind, minutes)
            }
            ("count", [scope, kind, minutes]) => (VelocityMeasure::Count, scope, kind, minutes),
            ("declined", [scope, kind, minutes]) => (VelocityMeasure::Declined, scope, kind, minutes),
            ("total", [scope, kind, minutes]) => (VelocityMeasure::Total, scope, kind, minutes),
            ("cards", [scope, kind, minutes]) => (VelocityMeasure::Cards, scope, kind, minutes),
            _ => {
                return complain(node, format!("no function {name} with {} values; there are {FUNCTIONS}", args.len()));
            }
        };
        let scope = scope_of(scope)?;
        Ok(look_back(measure, scope, self.kind(kind)?, window(minutes)?))
    }

    fn kind(&self, node: &IdedExpr) -> Result<Option<String>, Complaint> {
        match text_constant(node)? {
            any if any == "any" => Ok(None),
            kind => self.word(node, TextFact::Kind, kind).map(Some),
        }
    }

    /// Where only certain words can ever be met, any other is a mistake.
    fn word(&self, node: &IdedExpr, fact: TextFact, word: String) -> Result<String, Complaint> {
        let entries = Entry::ALL.map(Entry::name);
        let known: &[&str] = match fact {
            TextFact::Kind => self.kinds,
            TextFact::Entry => &entries,
            _ => return Ok(word),
        };
        if known.contains(&word.as_str()) {
            return Ok(word);
        }
        complain(node, format!("no such word {word:?}; there are {}", known.join(", ")))
    }
}

fn arguments<'a, const N: usize>(node: &IdedExpr, call: &'a CallExpr) -> Result<&'a [IdedExpr; N], Complaint> {
    match call.args.as_slice().try_into() {
        Ok(arguments) if call.target.is_none() => Ok(arguments),
        _ => complain(node, format!("expected {N} values")),
    }
}

fn arithmetic(operator: Operator, left: Number, right: Number) -> Typed {
    Typed::Number(Number::Arithmetic(operator, Box::new(left), Box::new(right)))
}

fn look_back(measure: VelocityMeasure, scope: Scope, kind: Option<String>, minutes: u32) -> Typed {
    Typed::Number(Number::Velocity(Box::new(Velocity { measure, scope, kind, minutes })))
}

fn literal_value(node: &IdedExpr, literal: &LiteralValue) -> Result<Typed, Complaint> {
    match literal {
        LiteralValue::Boolean(value) => Ok(Typed::Truth(Truth::Constant(*value.inner()))),
        LiteralValue::Int(value) => Ok(Typed::Number(Number::Constant(*value.inner()))),
        LiteralValue::String(value) => Ok(Typed::TextConstant(value.inner().to_owned())),
        LiteralValue::Double(_) => complain(node, "no fractions: amounts are in minor units"),
        LiteralValue::UInt(_) => complain(node, "no unsigned numbers: leave the u out"),
        LiteralValue::Bytes(_) | LiteralValue::Null => complain(node, "not of use in a rule"),
    }
}

fn fact(node: &IdedExpr, name: &str) -> Result<Typed, Complaint> {
    let truth = FLAG_FACTS.iter().find(|(known, _)| *known == name).map(|(_, fact)| Typed::Truth(Truth::Flag(*fact)));
    let number =
        || NUMBER_FACTS.iter().find(|(known, _)| *known == name).map(|(_, fact)| Typed::Number(Number::Fact(*fact)));
    let text = || TEXT_FACTS.iter().find(|(known, _)| *known == name).map(|(_, fact)| Typed::Text(*fact));
    truth.or_else(number).or_else(text).map_or_else(|| complain(node, unknown_fact(name)), Ok)
}

fn unknown_fact(name: &str) -> String {
    let texts = TEXT_FACTS.iter().map(|(known, _)| *known);
    let numbers = NUMBER_FACTS.iter().map(|(known, _)| *known);
    let flags = FLAG_FACTS.iter().map(|(known, _)| *known);
    let known: Vec<&str> = texts.chain(numbers).chain(flags).collect();
    format!("no fact {name}; there are {}", known.join(", "))
}

fn text_constant(node: &IdedExpr) -> Result<String, Complaint> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Ok(text.inner().to_owned()),
        _ => complain(node, "expected a text between quotes"),
    }
}

fn number_constant(node: &IdedExpr) -> Result<i64, Complaint> {
    match &node.expr {
        Expr::Literal(LiteralValue::Int(number)) => Ok(*number.inner()),
        _ => complain(node, "expected a number"),
    }
}

fn scope_of(node: &IdedExpr) -> Result<Scope, Complaint> {
    let name = text_constant(node)?;
    let scope = Scope::ALL.into_iter().find(|scope| scope.name() == name);
    scope.map_or_else(|| complain(node, "expected \"card\", \"terminal\" or \"merchant\""), Ok)
}

fn window(node: &IdedExpr) -> Result<u32, Complaint> {
    let minutes = u32::try_from(number_constant(node)?).ok();
    let fits = minutes.filter(|minutes| (1..=WINDOW_MINUTES_MAX).contains(minutes));
    fits.map_or_else(|| complain(node, format!("a window has 1 to {WINDOW_MINUTES_MAX} minutes")), Ok)
}

fn comparison(name: &str) -> Option<Comparison> {
    Some(match name {
        op::LESS => Comparison::Less,
        op::LESS_EQUALS => Comparison::LessOrEqual,
        op::GREATER => Comparison::Greater,
        op::GREATER_EQUALS => Comparison::GreaterOrEqual,
        _ => return None,
    })
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        op::ADD => Operator::Add,
        op::SUBSTRACT => Operator::Subtract,
        op::MULTIPLY => Operator::Multiply,
        op::DIVIDE => Operator::Divide,
        op::MODULO => Operator::Remainder,
        _ => return None,
    })
}
