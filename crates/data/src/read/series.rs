//! The series of a file.

use super::Roles;
use crate::{
    DataError, ReadOptions,
    statics::{joined, series_name},
    table::{self, Rows, Table},
    track::Track,
};
use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

/// The series of a file, and how many rows each has. A wide file is one without a name.
pub(super) struct Series {
    /// None for a wide file.
    pub names: Vec<String>,
    /// By series, what the columns of ids say of it.
    pub ids: Vec<String>,
    /// By the fields of these columns, in a place of its own.
    groups: HashMap<String, usize>,
    /// By group and target, the series; of a wide file one for all targets.
    places: Vec<Vec<Option<usize>>>,
    rows: Vec<usize>,
    /// Names of those that are not kept.
    pub others: BTreeSet<String>,
}

impl Series {
    /// Rows are those of a column that is there, whatever a footer says of them: memory is taken for so many.
    pub fn count(path: &Path, table: &Table, roles: &Roles, options: &ReadOptions) -> Result<Self, DataError> {
        let mut series = Self {
            names: Vec::new(),
            ids: Vec::new(),
            groups: HashMap::new(),
            places: Vec::new(),
            rows: Vec::new(),
            others: BTreeSet::new(),
        };
        match roles.ids.is_empty() {
            true => {
                let names = table.header().names.iter().enumerate().skip(roles.from);
                let others =
                    names.filter(|(at, _)| *at != roles.time && !roles.targets.contains(at) && !roles.known.contains(at));
                series.others.extend(others.filter(|(at, _)| !roles.past.contains(at)).map(|(_, name)| name.clone()));
                series.count_wide(table, roles.time)?;
            }
            false => series.count_long(table, roles, options.columns.as_deref())?,
        }
        match series.names.iter().zip(&series.rows).find(|(_, rows)| **rows == 0) {
            Some((name, _)) => Err(table::fault(path, format!("rows of series `{name}`"), "none")),
            None if series.rows.iter().all(|rows| *rows == 0) => Err(table::fault(path, "rows under the header", "none")),
            None => Ok(series),
        }
    }

    fn count_wide(&mut self, table: &Table, time: usize) -> Result<(), DataError> {
        self.groups.insert(String::new(), 0);
        self.places.push(vec![Some(0)]);
        let (mut rows, mut count) = (table.rows(&[time])?, 0);
        while rows.advance()?.is_some() {
            count += 1;
        }
        self.rows.push(count);
        Ok(())
    }

    fn count_long(&mut self, table: &Table, roles: &Roles, kept: Option<&[String]>) -> Result<(), DataError> {
        let mut known: HashMap<String, (usize, bool)> = HashMap::new();
        for name in kept.into_iter().flatten() {
            known.insert(name.clone(), (self.add(name), false));
        }
        let mut rows = table.rows(&roles.ids)?;
        let mut key = Key::default();
        while let Some(line) = rows.advance()? {
            if key.places(&*rows, roles, self).is_none() {
                let id = key.id();
                if id.is_empty() {
                    let (at, expected) = (roles.ids[0], "the name of a series");
                    return Err(table.header().field(line, at, expected, rows.field(at)));
                }
                let mut places = Vec::with_capacity(roles.targets.len());
                for &target in &roles.targets {
                    let name = series_name(&id, &table.header().names[target], roles.targets.len());
                    let place = match known.get_mut(&name) {
                        Some((_, true)) => {
                            let expected = format!("ids that tell series apart, one alone `{name}`");
                            return Err(table.header().field(line, roles.ids[0], expected, rows.field(roles.ids[0])));
                        }
                        Some((place, met)) => {
                            *met = true;
                            Some(*place)
                        }
                        None if kept.is_some() => {
                            self.others.insert(name);
                            None
                        }
                        None => {
                            let place = self.add(&name);
                            known.insert(name, (place, true));
                            Some(place)
                        }
                    };
                    place.into_iter().for_each(|place| self.ids[place].clone_from(&id));
                    places.push(place);
                }
                key.group = Some(self.places.len());
                self.groups.insert(key.fields.clone(), self.places.len());
                self.places.push(places);
            }
            for &place in key.group.into_iter().flat_map(|group| self.places[group].iter().flatten()) {
                self.rows[place] += 1;
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str) -> usize {
        self.names.push(name.into());
        self.ids.push(String::new());
        self.rows.push(0);
        self.names.len() - 1
    }

    /// Numbers that a row of a track takes.
    pub fn width(&self, roles: &Roles) -> usize {
        let targets = if roles.ids.is_empty() { roles.targets.len() } else { 1 };
        Track::OWN + targets + roles.past.len() + roles.known.len()
    }

    /// All rows of all tracks.
    pub fn rows(&self) -> usize {
        self.rows.iter().sum()
    }

    /// The columns of targets that the tracks of a group have.
    pub fn targets<'a>(&self, roles: &'a Roles) -> std::slice::Chunks<'a, usize> {
        roles.targets.chunks(if roles.ids.is_empty() { roles.targets.len() } else { 1 })
    }

    /// A track for each, without rows, room for those that were counted.
    pub fn tracks<'a>(&self, mut room: &'a mut [f64], roles: &Roles) -> Vec<Track<'a>> {
        let width = self.width(roles);
        let (past, known) = (roles.past.len(), roles.known.len());
        let measured = width - Track::OWN - known;
        let mut tracks = Vec::with_capacity(self.rows.len());
        for (place, rows) in self.rows.iter().enumerate() {
            let own;
            (own, room) = room.split_at_mut(rows * width);
            tracks.push(Track::new(self.names.get(place).cloned(), own, measured - past, measured, known));
        }
        tracks
    }
}

/// What stands between the fields of a key.
const UNIT: char = '\u{1f}';

/// The fields that say whose a row is, where the row before may have had the same.
#[derive(Default)]
pub(super) struct Key {
    fields: String,
    next: String,
    group: Option<usize>,
}

impl Key {
    /// The series of a row by target; none of one that was not met before.
    pub fn places<'a>(&mut self, rows: &dyn Rows, roles: &Roles, series: &'a Series) -> Option<&'a [Option<usize>]> {
        self.next.clear();
        for (index, &at) in roles.ids.iter().enumerate() {
            if index > 0 {
                self.next.push(UNIT);
            }
            self.next.push_str(&rows.field(at).text());
        }
        if self.group.is_none() || self.next != self.fields {
            std::mem::swap(&mut self.next, &mut self.fields);
            self.group = series.groups.get(&self.fields).copied();
        }
        self.group.map(|group| &series.places[group][..])
    }

    /// What these fields say together.
    fn id(&self) -> String {
        joined(self.fields.split(UNIT))
    }
}
