// How search ranks what it finds: Sphinx's own numbers; a task in a person's words comes before all else.
var Scorer = {
  objNameMatch: 11, objPartialMatch: 6, objPrio: {0: 15, 1: 5, 2: -5}, objPrioDefault: 0,
  title: 15, partialTitle: 7, term: 5, partialTerm: 2,
  score: ([page, title, anchor, description, score]) => score + (page === "tasks" ? 50 : 0),
};
