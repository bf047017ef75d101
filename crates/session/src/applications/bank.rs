//! A bank: accounts, transfers between them, and a notice to the receiver.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rpds::RedBlackTreeMapSync;

use super::DEFAULT_LIMIT;
use crate::{
    AppSnapshot, Application, Command, Context, Payload, QueryContext, Rejected, RestoreError,
    SessionEnd, SessionId, SnapshotInput,
};

/// A bank whose accounts belong to sessions.
///
/// Its invariant is easy to check from outside and breaks at once if a transfer runs twice or is lost: the sum of all
/// balances is the sum of what was deposited when the accounts were opened.
///
/// Only the session that opened an account can transfer from it. When that session ends, the account stays and pays
/// nothing out anymore. The owner of the receiving account gets a [`Notice`] as a server request.
#[derive(Clone, Debug)]
pub struct Bank {
    accounts: RedBlackTreeMapSync<u64, Account>,
    /// The accounts of each session that has not ended.
    owned: RedBlackTreeMapSync<SessionId, Vec<u64>>,
    total: u64,
    limit: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    balance: u64,
    owner: Option<SessionId>,
}

/// About the bytes that an account takes: nodes of two trees and the owner's id.
const ACCOUNT_BYTES: u64 = 512;

/// A command to the bank. The answer to each is a [`Reply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Opens an account that belongs to the sending session.
    Open {
        /// The number of the new account.
        account: u64,
        /// Its first balance.
        deposit: u64,
    },
    /// Moves money.
    Transfer {
        /// An account of the sending session.
        from: u64,
        /// Another account, of any session.
        to: u64,
        /// How much.
        amount: u64,
    },
}

/// A query to the bank. The answer is 8 bytes, big-endian, or a [`Reply::Failed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// The balance of an account.
    Balance {
        /// The number of the account.
        account: u64,
    },
    /// The sum of all balances.
    Total,
}

/// The answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done. The paying account, or the new one, has this balance now.
    Done {
        /// The balance.
        balance: u64,
    },
    /// It was not done.
    Failed(Failure),
}

/// Why the bank did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The payload is not a command of the bank.
    NotACommand,
    /// There is no account of this number.
    NoAccount,
    /// The account exists already.
    AccountExists,
    /// The paying account belongs to another session, or to one that has ended.
    NotTheOwner,
    /// The balance is lower than the amount, or both accounts are the same.
    InvalidAmount,
    /// The bank holds as many accounts, or as much money, as it can.
    Full,
}

/// A server request: an account of the session received money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The account that paid.
    pub from: u64,
    /// The account that received.
    pub to: u64,
    /// How much.
    pub amount: u64,
}

const FAILURES: [(u8, Failure); 6] = [
    (1, Failure::NotACommand),
    (2, Failure::NoAccount),
    (3, Failure::AccountExists),
    (4, Failure::NotTheOwner),
    (5, Failure::InvalidAmount),
    (6, Failure::Full),
];

const OPEN: u8 = 1;
const TRANSFER: u8 = 2;
const BALANCE: u8 = 1;
const TOTAL: u8 = 2;
const DONE: u8 = 0;

impl Default for Bank {
    fn default() -> Self {
        Self::new()
    }
}

impl Bank {
    /// Returns a bank without accounts. It holds about two million of them, in 1 GiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            accounts: RedBlackTreeMapSync::new_sync(),
            owned: RedBlackTreeMapSync::new_sync(),
            total: 0,
            limit: DEFAULT_LIMIT / ACCOUNT_BYTES,
        }
    }

    /// Returns the sum of all balances.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Returns the balance of an account.
    #[must_use]
    pub fn balance(&self, account: u64) -> Option<u64> {
        self.accounts.get(&account).map(|account| account.balance)
    }

    /// Returns the accounts and their balances, in the order of their numbers.
    pub fn balances(&self) -> impl Iterator<Item = (u64, u64)> {
        self.accounts.iter().map(|(number, account)| (*number, account.balance))
    }

    fn open(
        &mut self,
        owner: Option<SessionId>,
        number: u64,
        deposit: u64,
    ) -> Result<u64, Failure> {
        if self.accounts.contains_key(&number) {
            return Err(Failure::AccountExists);
        }
        let total = self.total.checked_add(deposit).ok_or(Failure::Full)?;
        if self.accounts.size() as u64 >= self.limit {
            return Err(Failure::Full);
        }
        self.total = total;
        if let Some(owner) = &owner {
            match self.owned.get_mut(owner) {
                Some(owned) => owned.push(number),
                None => self.owned.insert_mut(owner.clone(), vec![number]),
            }
        }
        self.accounts.insert_mut(number, Account { balance: deposit, owner });
        Ok(deposit)
    }

    fn transfer(
        &mut self,
        context: &mut Context<'_>,
        sender: &SessionId,
        notice: Notice,
    ) -> Result<u64, Failure> {
        let Notice { from, to, amount } = notice;
        let payer = self.accounts.get(&from).ok_or(Failure::NoAccount)?;
        let receiver = self.accounts.get(&to).ok_or(Failure::NoAccount)?;
        if payer.owner.as_ref() != Some(sender) {
            return Err(Failure::NotTheOwner);
        }
        if from == to {
            return Err(Failure::InvalidAmount);
        }
        let balance = payer.balance.checked_sub(amount).ok_or(Failure::InvalidAmount)?;
        // It cannot overflow: no balance is above the total.
        let received = receiver.balance.saturating_add(amount);
        let owner = receiver.owner.clone();
        self.accounts.insert_mut(from, Account { balance, owner: Some(sender.clone()) });
        self.accounts.insert_mut(to, Account { balance: received, owner: owner.clone() });
        if let Some(owner) = owner {
            // A notice is a courtesy: a session that does not read its notices keeps its accounts.
            let _ = context.try_push(&owner, notice.encode());
        }
        Ok(balance)
    }
}

impl Application for Bank {
    fn apply(
        &mut self,
        context: &mut Context<'_>,
        command: Command<'_>,
    ) -> Result<Payload, Rejected> {
        let session = command.session();
        let done = match Request::decode(command.payload()) {
            Some(Request::Open { account, deposit }) => {
                self.open(Some(session.clone()), account, deposit)
            }
            Some(Request::Transfer { from, to, amount }) => {
                self.transfer(context, session, Notice { from, to, amount })
            }
            None => Err(Failure::NotACommand),
        };
        match done {
            Ok(balance) => Ok(Reply::Done { balance }.encode()),
            // The client learns why: a rejection carries the bank's own error.
            Err(failure) => Err(failure.into()),
        }
    }

    fn query(&self, _context: &QueryContext<'_>, query: &Payload) -> Result<Payload, Rejected> {
        let number = match Question::decode(query).ok_or(Failure::NotACommand)? {
            Question::Balance { account } => self.balance(account).ok_or(Failure::NoAccount)?,
            Question::Total => self.total,
        };
        Ok(payload(&number.to_be_bytes()))
    }

    fn session_ended(&mut self, _context: &mut Context<'_>, session: &SessionId, _end: SessionEnd) {
        let Some(owned) = self.owned.get(session).cloned() else { return };
        self.owned.remove_mut(session);
        for number in owned {
            if let Some(account) = self.accounts.get_mut(&number) {
                account.owner = None;
            }
        }
    }

    fn snapshot(&self) -> AppSnapshot {
        let (accounts, limit) = (self.accounts.clone(), self.limit);
        AppSnapshot::new(move |output| {
            output.write_u64(limit)?;
            output.write_u64(accounts.size() as u64)?;
            for (number, Account { balance, owner }) in &accounts {
                output.write_u64(*number)?;
                output.write_u64(*balance)?;
                output.write_u8(owner.is_some().into())?;
                owner.iter().try_for_each(|owner| output.write_session_id(owner))?;
            }
            Ok(())
        })
    }

    fn restore(input: &mut SnapshotInput<'_>) -> Result<Self, RestoreError> {
        let mut bank = Self { limit: input.read_u64()?, ..Self::new() };
        for _ in 0..input.read_u64()? {
            let (number, balance) = (input.read_u64()?, input.read_u64()?);
            let owner = match input.read_u8()? {
                0 => None,
                _ => Some(input.read_session_id()?),
            };
            bank.open(owner, number, balance)
                .map_err(|_| RestoreError::invalid("an account cannot be opened"))?;
        }
        Ok(bank)
    }
}

impl Request {
    /// Returns the command's bytes: a tag and two or three numbers of 8 bytes, big-endian.
    #[must_use]
    pub fn encode(&self) -> Payload {
        match self {
            Self::Open { account, deposit } => numbers(OPEN, &[*account, *deposit]),
            Self::Transfer { from, to, amount } => numbers(TRANSFER, &[*from, *to, *amount]),
        }
    }

    /// Reads a command; none if the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, bytes) = bytes.split_first()?;
        match *tag {
            OPEN => read(bytes).map(|[account, deposit]| Self::Open { account, deposit }),
            TRANSFER => read(bytes).map(|[from, to, amount]| Self::Transfer { from, to, amount }),
            _ => None,
        }
    }
}

impl Question {
    /// Returns the query's bytes.
    #[must_use]
    pub fn encode(&self) -> Payload {
        match self {
            Self::Balance { account } => numbers(BALANCE, &[*account]),
            Self::Total => numbers(TOTAL, &[]),
        }
    }

    /// Reads a query; none if the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, bytes) = bytes.split_first()?;
        match *tag {
            BALANCE => read(bytes).map(|[account]| Self::Balance { account }),
            TOTAL => read(bytes).map(|[]| Self::Total),
            _ => None,
        }
    }
}

impl Reply {
    /// Returns the answer's bytes.
    #[must_use]
    pub fn encode(&self) -> Payload {
        match self {
            Self::Done { balance } => numbers(DONE, &[*balance]),
            Self::Failed(failure) => {
                let code = FAILURES.iter().find(|(_, each)| each == failure);
                payload(&[code.map_or(u8::MAX, |(code, _)| *code)])
            }
        }
    }

    /// Reads an answer; none if the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, bytes) = bytes.split_first()?;
        if *tag == DONE {
            return read(bytes).map(|[balance]| Self::Done { balance });
        }
        let failure = FAILURES.iter().find(|(code, _)| code == tag)?;
        read(bytes).map(|[]| Self::Failed(failure.1))
    }
}

impl Notice {
    /// Returns the notice's bytes: three numbers of 8 bytes, big-endian.
    #[must_use]
    pub fn encode(&self) -> Payload {
        let mut out = BytesMut::with_capacity(24);
        for number in [self.from, self.to, self.amount] {
            out.put_u64(number);
        }
        payload(&out)
    }

    /// Reads a notice; none if the bytes are not one.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read(bytes).map(|[from, to, amount]| Self { from, to, amount })
    }
}

impl From<Failure> for Rejected {
    fn from(failure: Failure) -> Self {
        Self::with_answer(Reply::Failed(failure).encode())
    }
}

fn numbers(tag: u8, numbers: &[u64]) -> Payload {
    let mut out = BytesMut::with_capacity(1 + 8 * numbers.len());
    out.put_u8(tag);
    for number in numbers {
        out.put_u64(*number);
    }
    payload(&out)
}

/// Exactly `N` numbers.
fn read<const N: usize>(mut bytes: &[u8]) -> Option<[u64; N]> {
    (bytes.len() == 8 * N).then(|| std::array::from_fn(|_| bytes.get_u64()))
}

fn payload(bytes: &[u8]) -> Payload {
    // A few bytes always fit.
    Payload::new(Bytes::copy_from_slice(bytes)).unwrap_or_default()
}
