-- Consensus: how a proposal or a vote is refused
--
-- Risk limits, agents, the quorum, and the end of a lockdown change in one way only: an agent proposes a change, other
-- agents approve it, and the approval that completes the quorum applies it. Each signs the exact text of what it says
-- with Ed25519. The files of this chapter, in this order:
--
--   refuse, texts             how a refusal is raised; the texts that are signed
--   agents, proposals,        the tables: agents and revocations, proposals and votes, and every applied proposal
--     change_log                with the votes that carried it
--   state                     what the applied proposals lead to, as text
--   rules                     how a vote is counted. Begin here.
--   replay, problems          everything counted again from the bootstrap on, believing nothing but signatures; and
--                               what the tables hold besides
--   checks, payloads          what a payload must look like, a function for each kind of proposal
--   bootstrap, propose,       what people call
--     release, vote
--   apply                     what an approved proposal does
--   validate                  triggers: a row that did not come through these functions is refused
--   read                      views, reading functions, and grants

create function _refuse_consensus(code text, message text, detail text, hint text) returns void
language plpgsql
set search_path from current
as $function$
begin
  perform _refuse(code, message, detail, hint, 'consensus', 'VOTE');
end
$function$;
comment on function _refuse_consensus is
  'Raises an RSK code, or AUD-009, for a proposal or a vote. Never returns.';
select _count_attempts(c.code, 'consensus', 'VOTE')
from unnest(array['RSK-001', 'RSK-002', 'RSK-003', 'RSK-004', 'RSK-005', 'RSK-006', 'RSK-007', 'AUD-009']) as c(code);
