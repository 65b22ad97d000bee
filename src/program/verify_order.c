/* Order between lanes, by vector clocks: for each instruction, how far each lane is when it starts. */
#include "program/verify.h"

/* Ranks meet in their exchanges one after the other: one that another may overtake meets the wrong one of
 * another rank, or none. So all are on one lane, and in the order of the list. */
static dl_status check_lane(const dl_verifier *v, int at) {
    const dl_lane lane = v->program->instruction[at].lane;
    if (lane != DL_LANE_COMM) {
        return dl_verify_fault(v->program, at, -1, "is an exchange on lane %s: others may overtake it",
                               dl_lane_name(lane));
    }
    return DL_OK;
}

dl_status dl_verify_follow(dl_verifier *v, int at) {
    const dl_program *program = v->program;
    const dl_instruction *instruction = &program->instruction[at];
    int *seen = v->seen[at];
    const int before = v->last[instruction->lane];
    for (int lane = 0; lane < DL_N_LANES; lane++) {
        seen[lane] = before >= 0 ? v->seen[before][lane] : DL_NOBODY;
    }
    for (int w = 0; w < instruction->n_waits; w++) {
        const int event = instruction->waits[w];
        const int maker = event >= 0 && event < program->n_events ? v->maker[event] : DL_NOBODY;
        if (maker < 0) {
            return dl_verify_fault(program, at, -1, "waits for event %d, which nothing before it records",
                                   event);
        }
        for (int lane = 0; lane < DL_N_LANES; lane++) {
            seen[lane] = v->seen[maker][lane] > seen[lane] ? v->seen[maker][lane] : seen[lane];
        }
    }
    const int records = instruction->records;
    if (records >= program->n_events || (records >= 0 && v->maker[records] >= 0)) {
        return dl_verify_fault(program, at, -1, "records event %d of %d, or again", records,
                               program->n_events);
    }
    if (records >= 0) {
        v->maker[records] = at;
    }
    seen[instruction->lane] = v->last[instruction->lane] = at;
    return instruction->type == DL_DO_ALL_REDUCE ? check_lane(v, at) : DL_OK;
}

dl_status dl_verify_order(const dl_verifier *v, int at, int slot, int earlier) {
    if (earlier < 0 || earlier == at) {
        return DL_OK;
    }
    char name[64];
    const dl_instruction *other = &v->program->instruction[earlier];
    if (v->seen[at][other->lane] < earlier) {
        return dl_verify_fault(v->program, at, slot,
                               "touches the same bytes as instruction %d (%s) on lane %s and does not wait "
                               "for it",
                               earlier, dl_instruction_name(other, name), dl_lane_name(other->lane));
    }
    return DL_OK;
}
