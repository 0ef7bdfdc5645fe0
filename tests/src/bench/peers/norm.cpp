// NORM (RFC 5740) as a file transfer: its library has no such program. Tuned for a local network: blocks of 64 segments with
// up to 32 of parity, a group's round trip of 20 ms, and an acknowledgement of every receiver at the end.
//
// norm send IMAGE RECEIVERS BITS_PER_SECOND    ends when all receivers, numbered from 1, have acknowledged
// norm receive FOLDER NUMBER                   renames the complete file to FOLDER/received, and goes on to acknowledge
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include <normApi.h>

static const unsigned int BUFFER = 16 * 1024 * 1024;
static const unsigned int SENDER = 1000;

static int send(NormInstanceHandle norm, NormSessionHandle session, const char* image, unsigned int receivers) {
    NormSetGrttEstimate(session, 0.02);
    NormSetGrttProbingMode(session, NORM_PROBE_NONE);
    NormSetGroupSize(session, receivers);
    NormSetTxSocketBuffer(session, BUFFER / 4);
    for (unsigned int number = 1; number <= receivers; number++) NormAddAckingNode(session, number);
    if (!NormStartSender(session, NormGetRandomSessionId(), BUFFER, 1400, 64, 32)) return 1;
    NormObjectHandle file = NormFileEnqueue(session, image, "image", 5);
    if (file == NORM_OBJECT_INVALID || !NormSetWatermark(session, file, true)) return 1;
    NormEvent event;
    while (NormGetNextEvent(norm, &event)) {
        if (event.type != NORM_TX_WATERMARK_COMPLETED) continue;
        if (NormGetAckingStatus(session) == NORM_ACK_SUCCESS) return 0;
        NormSetWatermark(session, file, true);
    }
    return 1;
}

static int receive(NormInstanceHandle norm, NormSessionHandle session, const char* folder) {
    NormSetCacheDirectory(norm, folder);
    NormSetDefaultSyncPolicy(session, NORM_SYNC_ALL);
    if (!NormStartReceiver(session, BUFFER)) return 1;
    NormSetRxSocketBuffer(session, BUFFER / 4);
    NormEvent event;
    while (NormGetNextEvent(norm, &event)) {
        char name[1024] = "";
        if (event.type != NORM_RX_OBJECT_COMPLETED || !NormFileGetName(event.object, name, sizeof name - 1)) continue;
        if (rename(name, (std::string(folder) + "/received").c_str()) != 0) return 1;
    }
    return 1;
}

int main(int count, char** words) {
    bool sender = count == 5 && strcmp(words[1], "send") == 0;
    if (!sender && !(count == 4 && strcmp(words[1], "receive") == 0)) return 2;
    NormInstanceHandle norm = NormCreateInstance();
    unsigned int number = sender ? SENDER : static_cast<unsigned int>(atoi(words[3]));
    NormSessionHandle session = NormCreateSession(norm, "239.77.0.9", 6003, number);
    NormSetMulticastInterface(session, "eth0");
    if (!sender) return receive(norm, session, (std::string(words[2]) + "/").c_str());
    NormSetTxRate(session, atof(words[4]));
    return send(norm, session, words[2], static_cast<unsigned int>(atoi(words[3])));
}
