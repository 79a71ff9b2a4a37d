//! Logs made here, event by event, as the servers write them.

/// A log that grows.
pub(crate) struct Made {
    pub(crate) bytes: Vec<u8>,
    /// Where each event begins.
    pub(crate) offsets: Vec<usize>,
    is_mariadb: bool,
    seconds: u32,
    transactions: u64,
}

/// A row of the tables made here: a number, a text, both of which may be NULL.
pub(crate) type MadeRow = (Option<i32>, Option<&'static str>);

fn number(value: usize) -> u32 {
    u32::try_from(value).unwrap()
}

fn image((id, name): MadeRow) -> Vec<u8> {
    let mut bytes = vec![u8::from(id.is_none()) | u8::from(name.is_none()) << 1];
    bytes.extend(id.into_iter().flat_map(i32::to_le_bytes));
    if let Some(name) = name {
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend(name.as_bytes());
    }
    bytes
}

impl Made {
    /// A log of MySQL or MariaDB with its description.
    pub(crate) fn new(is_mariadb: bool) -> Self {
        let mut log = Self {
            bytes: b"\xfebin".to_vec(),
            offsets: Vec::new(),
            is_mariadb,
            seconds: 1_763_700_000,
            transactions: 0,
        };
        let version = if is_mariadb { "10.11.19-MariaDB-log" } else { "9.7.4" };
        let mut body = 4_u16.to_le_bytes().to_vec();
        body.extend(version.as_bytes());
        body.resize(52, 0);
        body.extend([0, 0, 0, 0, 19]);
        body.extend([56, 13, 0, 8, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 98, 0, 4, 26, 8, 0, 0, 0]);
        body.extend([8, 8, 8, 2, 0, 0, 0, 10, 10, 10]);
        body.push(1);
        log.event(15, &body);
        log
    }

    /// Any event.
    pub(crate) fn event(&mut self, kind: u8, body: &[u8]) {
        let begin = self.bytes.len();
        self.offsets.push(begin);
        let length = 19 + body.len() + 4;
        self.bytes.extend(self.seconds.to_le_bytes());
        self.bytes.push(kind);
        self.bytes.extend(7_u32.to_le_bytes());
        self.bytes.extend(number(length).to_le_bytes());
        self.bytes.extend(number(begin + length).to_le_bytes());
        self.bytes.extend([0, 0]);
        self.bytes.extend(body);
        let checksum = crc32fast::hash(&self.bytes[begin..]);
        self.bytes.extend(checksum.to_le_bytes());
    }

    /// A transaction begins.
    pub(crate) fn begin(&mut self) {
        self.transactions += 1;
        self.seconds += 1;
        let sequence = self.transactions;
        if self.is_mariadb {
            let mut body = sequence.to_le_bytes().to_vec();
            body.extend([0; 11]);
            self.event(162, &body);
            return;
        }
        let mut body = vec![1];
        body.extend([0xab; 16]);
        body.extend(sequence.to_le_bytes());
        body.push(2);
        body.extend([0; 16]);
        body.extend(&(u64::from(self.seconds) * 1_000_000).to_le_bytes()[..7]);
        self.event(33, &body);
        self.statement("BEGIN");
    }

    /// A statement.
    pub(crate) fn statement(&mut self, text: &str) {
        let mut body = vec![9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        body.extend(b"d\0");
        body.extend(text.as_bytes());
        self.event(2, &body);
    }

    /// A statement of its own, such as DDL.
    pub(crate) fn alone(&mut self, text: &str) {
        self.transactions += 1;
        let sequence = self.transactions;
        if self.is_mariadb {
            let mut body = sequence.to_le_bytes().to_vec();
            body.extend([0, 0, 0, 0, 1 | 32]);
            body.extend([0; 6]);
            self.event(162, &body);
        } else {
            let mut body = vec![1];
            body.extend([0xab; 16]);
            body.extend(sequence.to_le_bytes());
            self.event(33, &body);
        }
        self.statement(text);
    }

    /// Maps a number to the table `d.NAME (id int primary key, name varchar(100))`.
    pub(crate) fn map(&mut self, id: u8, name: &str) {
        self.map_wide(id.into(), name);
    }

    /// The same, for any number.
    pub(crate) fn map_wide(&mut self, id: u16, name: &str) {
        let [low, high] = id.to_le_bytes();
        let mut body = vec![low, high, 0, 0, 0, 0, 1, 0, 1, b'd', 0];
        body.push(u8::try_from(name.len()).unwrap());
        body.extend(name.as_bytes());
        body.extend([0, 2, 3, 15, 2, 100, 0, 3]);
        // Signedness, the text's collation, names, and the primary key.
        body.extend([1, 1, 0, 2, 1, 45, 4, 8, 2, b'i', b'd', 4, b'n', b'a', b'm', b'e', 8, 1, 0]);
        self.event(19, &body);
    }

    fn rows(&mut self, kinds: (u8, u8), id: u8, bitmaps: &[u8], images: &[u8]) {
        let mut body = vec![id, 0, 0, 0, 0, 0, 1, 0];
        if !self.is_mariadb {
            body.extend([2, 0]);
        }
        body.push(2);
        body.extend(bitmaps);
        body.extend(images);
        self.event(if self.is_mariadb { kinds.0 } else { kinds.1 }, &body);
    }

    /// Rows are added.
    pub(crate) fn insert(&mut self, id: u8, rows: &[MadeRow]) {
        let images: Vec<u8> = rows.iter().flat_map(|row| image(*row)).collect();
        self.rows((23, 30), id, &[3], &images);
    }

    /// Rows are changed.
    pub(crate) fn update(&mut self, id: u8, rows: &[(MadeRow, MadeRow)]) {
        let images: Vec<u8> =
            rows.iter().flat_map(|(before, after)| [image(*before), image(*after)].concat()).collect();
        self.rows((24, 31), id, &[3, 3], &images);
    }

    /// Rows are taken away.
    pub(crate) fn delete(&mut self, id: u8, rows: &[MadeRow]) {
        let images: Vec<u8> = rows.iter().flat_map(|row| image(*row)).collect();
        self.rows((25, 32), id, &[3], &images);
    }

    /// The transaction commits.
    pub(crate) fn commit(&mut self) {
        let number = self.transactions;
        self.event(16, &number.to_le_bytes());
    }

    /// A log in which everything happens that these functions can make.
    pub(crate) fn full(is_mariadb: bool) -> Self {
        let mut log = Self::new(is_mariadb);
        log.alone("CREATE TABLE t (id int primary key, name varchar(100))");
        for round in 0..3 {
            log.begin();
            if is_mariadb {
                log.event(160, b"insert into t values (1, 'a')");
            }
            log.map(1, "t");
            log.insert(1, &[(Some(round), Some("a")), (Some(-1 - round), None)]);
            log.map(2, "u");
            log.update(2, &[((Some(1), Some("it's")), (Some(2), Some("b\\c")))]);
            log.delete(1, &[(Some(round), Some("a"))]);
            log.commit();
        }
        log.alone("DROP TABLE t");
        log
    }
}
