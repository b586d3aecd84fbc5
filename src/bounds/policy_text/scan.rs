//! Checks policy text against limits in one pass, before Cedar's parser reads it.
//!
//! Cedar's parser, validator and evaluator are recursive, and the text determines the depth of their trees:
//! brackets and `if` nest, and each operator, member access and call adds a level. The scan reads the same
//! tokens as Cedar's lexer and counts what can make a tree deep or large. If Cedar parses a text without an
//! error, its trees are no deeper or larger than these counts.
//!
//! For an invalid text, the tree may be deeper than the counts: Cedar's parser recovers from errors, and may
//! nest where the brackets do not. Such a tree is never evaluated, only dropped. It has at most as many
//! levels as the parsed piece (see [`pieces`]) has tokens. [`crate::bounds::policy_text::parse`] uses a stack
//! that is large enough to drop it.

mod lexer;

use lexer::{Kind, Lexer, Token};
use std::ops::Range;

/// Bytes of a pack's policies.
pub const POLICIES_BYTES_MAX: usize = 256 << 10;
/// Policies of a pack.
const POLICIES_MAX: usize = 1_024;
/// Tokens of a pack, counted like those of a policy.
const PACK_TOKENS_MAX: usize = 65_536;
/// Tokens of a policy. The left operand of `is … in` is evaluated twice, so its tokens count twice. A string
/// counts as one token, plus one for each full 64 bytes.
pub(crate) const TOKENS_MAX: usize = 4_096;
/// Brackets and `if` that enclose one token.
pub(crate) const NESTING_MAX: usize = 32;
/// Levels of a policy's syntax tree.
pub(crate) const DEPTH_MAX: usize = 128;
/// Bytes of a string.
const STRING_BYTES_MAX: usize = 4_096;
/// Bytes of a `like` pattern; matching takes time proportional to pattern length times text length.
const PATTERN_BYTES_MAX: usize = 256;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 256;

/// A limit that the text exceeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitExceeded {
    /// The byte offset at which it is exceeded.
    pub at: usize,
    /// A message that names the limit.
    pub problem: String,
}

/// Splits the text into pieces of whole policies, each of at most [`TOKENS_MAX`] tokens, without the space
/// and comments between them.
///
/// # Errors
/// The text exceeds a limit.
pub(crate) fn pieces(text: &str) -> Result<Vec<Range<usize>>, LimitExceeded> {
    if text.len() > POLICIES_BYTES_MAX {
        let problem = format!("the policies of a pack may have at most {} KiB", POLICIES_BYTES_MAX >> 10);
        return Err(exceeded(0, problem));
    }
    let mut pieces = Pieces::default();
    let (mut policy, mut start) = (Policy::default(), None);
    for token in Lexer::new(text) {
        let from = *start.get_or_insert(token.at);
        policy.take(&token)?;
        if token.kind == Kind::Semicolon {
            pieces.add(from..token.end, policy.tokens())?;
            (policy, start) = (Policy::default(), None);
        }
    }
    // The last policy is not terminated. Leave it to the parser to report the error.
    if let Some(from) = start {
        pieces.add(from..text.len(), policy.tokens())?;
    }
    Ok(pieces.found)
}

#[derive(Default)]
struct Pieces {
    found: Vec<Range<usize>>,
    /// Tokens of the last piece.
    last: usize,
    /// Tokens of all pieces.
    all: usize,
    policies: usize,
}

impl Pieces {
    fn add(&mut self, policy: Range<usize>, tokens: usize) -> Result<(), LimitExceeded> {
        self.policies = self.policies.saturating_add(1);
        if self.policies > POLICIES_MAX {
            return Err(exceeded(policy.start, format!("a pack may have at most {POLICIES_MAX} policies")));
        }
        self.all = self.all.saturating_add(tokens);
        if self.all > PACK_TOKENS_MAX {
            let problem = format!("the policies of a pack may have at most {PACK_TOKENS_MAX} tokens");
            return Err(exceeded(policy.start, problem));
        }
        let together = self.last.saturating_add(tokens);
        match self.found.last_mut() {
            Some(piece) if together <= TOKENS_MAX => (piece.end, self.last) = (policy.end, together),
            _ => {
                self.found.push(policy);
                self.last = tokens;
            }
        }
        Ok(())
    }
}

fn exceeded(at: usize, problem: String) -> LimitExceeded {
    LimitExceeded { at, problem }
}

/// The state of the scan within a policy.
struct Policy {
    /// The levels outside the innermost bracket, outermost first; the first is the policy itself.
    open: Vec<Level>,
    /// The level within the innermost open bracket.
    inner: Level,
    /// What the preceding token was.
    before: Before,
}

impl Default for Policy {
    fn default() -> Self {
        Self { open: Vec::new(), inner: Level::default(), before: Before::Nothing }
    }
}

/// The kind of the preceding token, which determines what a bracket or a string means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// A name, a literal or a closed bracket: a following bracket calls it or accesses a member.
    Operand,
    Like,
    Dot,
}

/// The counts within one bracket.
#[derive(Default)]
struct Level {
    /// In the current element, which ends at a comma or a colon: the tree levels of `&&`, `||` and `if`.
    chain: usize,
    /// In the current element: the most tree levels of one comparison.
    comparison: usize,
    /// In the current element: levels of the deepest operand before the current operand.
    operands: usize,
    /// In the current element: the number of `if`.
    ifs: usize,
    /// Levels of operators, members and calls in the current operand. An operand begins after an operator
    /// that binds less tightly than `+`.
    operators: usize,
    /// Levels of the deepest bracket in the current operand.
    below: usize,
    /// Tokens of the current operand.
    operand: usize,
    /// Levels of the deepest element before the current one.
    deepest: usize,
    /// Tokens, without those of the current operand.
    tokens: usize,
    /// Tokens of the left operand of `is`, while an `in` may follow.
    is_target: Option<usize>,
}

impl Level {
    fn end_operand(&mut self) {
        self.operands = self.operands.max(self.operators.saturating_add(self.below));
        self.tokens = self.tokens.saturating_add(self.operand);
        (self.operators, self.below, self.operand, self.is_target) = (0, 0, 0, None);
    }

    fn end_element(&mut self) {
        self.end_operand();
        self.deepest = self.deepest.max(self.depth());
        (self.chain, self.comparison, self.operands, self.ifs) = (0, 0, 0, 0);
    }

    /// Tree levels of the current element.
    fn depth(&self) -> usize {
        let operands = self.operands.max(self.operators.saturating_add(self.below));
        self.chain.saturating_add(self.comparison).saturating_add(operands)
    }

    fn count(&self) -> usize {
        self.tokens.saturating_add(self.operand)
    }

    fn chain(&mut self, levels: usize) {
        self.chain = self.chain.saturating_add(levels);
        self.end_operand();
    }

    fn compare(&mut self, levels: usize) {
        self.comparison = self.comparison.max(levels);
        self.end_operand();
    }

    /// Adds levels to the current operand.
    fn operator(&mut self, levels: usize) {
        self.operators = self.operators.saturating_add(levels);
    }
}

impl Policy {
    fn take(&mut self, token: &Token<'_>) -> Result<(), LimitExceeded> {
        check_size(token, self.before)?;
        let size = 1 + if token.kind == Kind::Text { token.text.len() / 64 } else { 0 };
        let before = std::mem::replace(&mut self.before, Before::Nothing);
        match token.kind {
            Kind::Open => self.open(token, before),
            Kind::Close => self.close(),
            Kind::Word | Kind::Text => self.before = Before::Operand,
            Kind::Dot => {
                self.inner.operator(1);
                self.before = Before::Dot;
            }
            Kind::Arithmetic => self.inner.operator(1),
            Kind::Chain => self.inner.chain(1),
            Kind::Comparison { levels } => self.inner.compare(levels),
            Kind::In => self.is_in(),
            Kind::Is => {
                let target = self.inner.operand;
                self.inner.compare(1);
                self.inner.is_target = Some(target);
            }
            Kind::Like => {
                self.inner.compare(1);
                self.before = Before::Like;
            }
            Kind::If if before != Before::Dot => {
                self.inner.ifs = self.inner.ifs.saturating_add(1);
                self.inner.chain(1);
            }
            Kind::If => self.before = Before::Operand,
            Kind::Branch => self.inner.end_operand(),
            Kind::Separator | Kind::Semicolon => self.inner.end_element(),
            Kind::Other => {}
        }
        self.inner.operand = self.inner.operand.saturating_add(size);
        self.check(token)
    }

    /// `a is T in b` is evaluated as `a is T && a in b`.
    fn is_in(&mut self) {
        let again = self.inner.is_target;
        self.inner.compare(if again.is_some() { 2 } else { 1 });
        self.inner.tokens = self.inner.tokens.saturating_add(again.unwrap_or_default());
    }

    fn open(&mut self, token: &Token<'_>, before: Before) {
        match token.text {
            // A condition adds an `&&`, and `unless` also a `!`.
            "{" if self.open.is_empty() => self.inner.chain(2),
            // A call, or access to a member by name.
            "(" | "[" if before == Before::Operand && !self.open.is_empty() => self.inner.operator(1),
            _ => {}
        }
        self.open.push(std::mem::take(&mut self.inner));
    }

    fn close(&mut self) {
        self.before = Before::Operand;
        // Leave an unmatched bracket to the parser.
        let Some(outer) = self.open.pop() else { return };
        let mut closed = std::mem::replace(&mut self.inner, outer);
        closed.end_element();
        self.inner.below = self.inner.below.max(closed.deepest.saturating_add(1));
        self.inner.operand = self.inner.operand.saturating_add(closed.tokens);
    }

    fn check(&self, token: &Token<'_>) -> Result<(), LimitExceeded> {
        let ifs = self.open.iter().map(|level| level.ifs).sum::<usize>();
        if self.open.len().saturating_add(ifs).saturating_add(self.inner.ifs) > NESTING_MAX {
            let problem = format!("brackets and `if` may nest at most {NESTING_MAX} deep");
            return Err(exceeded(token.at, problem));
        }
        if self.inner.depth() > DEPTH_MAX || self.inner.deepest > DEPTH_MAX {
            let problem = format!(
                "a policy may be at most {DEPTH_MAX} levels deep; `&&`, `||`, `if`, members, calls and brackets make one each"
            );
            return Err(exceeded(token.at, problem));
        }
        if self.tokens() > TOKENS_MAX {
            let problem = format!(
                "a policy may have at most {TOKENS_MAX} tokens; the left operand of `is … in` counts twice, and a long string more than once"
            );
            return Err(exceeded(token.at, problem));
        }
        Ok(())
    }

    fn tokens(&self) -> usize {
        self.open.iter().fold(self.inner.count(), |sum, level| sum.saturating_add(level.count()))
    }
}

fn check_size(token: &Token<'_>, before: Before) -> Result<(), LimitExceeded> {
    let (what, bytes_max) = match token.kind {
        Kind::Text if before == Before::Like => ("the pattern of `like`", PATTERN_BYTES_MAX),
        Kind::Text => ("a string", STRING_BYTES_MAX),
        _ => ("a name or number", NAME_BYTES_MAX),
    };
    // The quotes do not count.
    let bytes = token.text.len().saturating_sub(if token.kind == Kind::Text { 2 } else { 0 });
    if bytes > bytes_max {
        return Err(exceeded(token.at, format!("{what} may have at most {bytes_max} bytes")));
    }
    Ok(())
}
